/** The history of a task as it happens: a strip of what it was doing, and its events by attempt. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { call } from "../lib/api.ts";
import {
  byAttempt,
  countEvents,
  describeEvent,
  describeNext,
  eventsIn,
  phaseOf,
  stretchesOf,
  type TaskEvent,
} from "../lib/history.ts";
import { notify } from "../lib/notices.tsx";
import { useHeld } from "../lib/selection.ts";
import { durationText, exactText, nowMs, Until } from "../lib/time.tsx";
import type { Task } from "../lib/types.ts";

const MAX_EVENTS_SHOWN = 500;

/** `task`: as it was read last. Each reading may have more events than the one before. */
export function TaskHistory({ path, task }: { path: string; task: Task }) {
  const events = useSignal<readonly TaskEvent[]>([]);
  useEffect(() => {
    const gone = new AbortController();
    const read = async () => {
      const last = events.value.at(-1)?.id ?? 0;
      const url = `${path}/events?follow=false&lastEventId=${last}`;
      const response = await call(url, { signal: gone.signal });
      const added = eventsIn(await response.text());
      if (added.length > 0) events.value = [...events.value, ...added].slice(-MAX_EVENTS_SHOWN);
    };
    read().catch((error: unknown) => gone.signal.aborted || notify(error));
    return () => gone.abort();
  }, [path, task]);
  const shown = useHeld(events.value);
  const first = shown[0];
  if (!first) return null;
  return (
    <section class="card" aria-label="History">
      <div class="title">
        <h2>History</h2>
        <span class="faint">{countEvents(shown)}</span>
      </div>
      <Strip events={shown} />
      {byAttempt(shown).map((group) => (
        <Attempt key={group.events[0]?.id} {...group} startMs={Date.parse(first.at)} />
      ))}
    </section>
  );
}

function Attempt({
  attempt,
  events,
  startMs,
}: {
  attempt: number;
  events: readonly TaskEvent[];
  startMs: number;
}) {
  return (
    <>
      <h3>{attempt === 0 ? "Before the first attempt" : `Attempt ${attempt}`}</h3>
      <ol class="timeline">
        {events.map((event) => (
          <li key={event.id} class={event.name === "status" ? phaseOf(event) : "detail"}>
            <time dateTime={event.at} title={exactText(event.at)}>
              +{durationText(Date.parse(event.at) - startMs)}
            </time>{" "}
            {describeEvent(event)}
            <Next event={event} />
          </li>
        ))}
      </ol>
    </>
  );
}

/** When a scheduled task goes on; nothing once that has passed. */
function Next({ event }: { event: TaskEvent }) {
  const { runAt } = event.data;
  const how = describeNext(event);
  if (how === undefined || runAt === undefined || Date.parse(runAt) < nowMs.value) return null;
  return (
    <>
      , {how} <Until time={runAt} />
    </>
  );
}

const WIDTH = 600;
const MIN_WIDTH = 2;

/** How long the task was doing what, to scale; the shortest stretches are drawn wide enough to be seen. */
function Strip({ events }: { events: readonly TaskEvent[] }) {
  const stretches = stretchesOf(events, useHeld(nowMs.value));
  const startMs = stretches[0]?.fromMs ?? 0;
  const totalMs = (stretches.at(-1)?.toMs ?? 0) - startMs;
  if (totalMs === 0) return null;
  const phases = [...new Set(stretches.map(({ phase }) => phase))];
  const spent = (wanted: string) =>
    stretches.reduce((sum, { phase, fromMs, toMs }) => sum + (phase === wanted ? toMs - fromMs : 0), 0);
  return (
    <>
      <svg class="time-bar" viewBox={`0 0 ${WIDTH} 16`} preserveAspectRatio="none" aria-hidden="true">
        {stretches.map(({ phase, fromMs, toMs }) => (
          <rect
            key={fromMs}
            class={`phase-${phase}`}
            x={((fromMs - startMs) / totalMs) * WIDTH}
            y="0"
            width={Math.max(MIN_WIDTH, ((toMs - fromMs) / totalMs) * WIDTH)}
            height="16"
          />
        ))}
      </svg>
      <ul class="legend">
        {phases.map((phase) => (
          <li key={phase}>
            <i class={`phase-${phase}`} /> {phase} {durationText(spent(phase))}
          </li>
        ))}
      </ul>
    </>
  );
}
