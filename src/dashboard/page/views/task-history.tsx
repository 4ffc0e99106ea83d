/** The history of a task as it happens: a strip of what it was doing, and its events by attempt. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import {
  byAttempt,
  countEvents,
  describeEvent,
  phaseOf,
  stretchesOf,
  type TaskEvent,
} from "../lib/history.ts";
import { useHeld } from "../lib/selection.ts";
import { durationText, exactText, nowMs, Until } from "../lib/time.tsx";

const MAX_EVENTS_SHOWN = 500;

/** The task's events: those so far, and each as it happens. The browser reconnects by itself, and continues. */
export function TaskHistory({ path }: { path: string }) {
  const events = useSignal<readonly TaskEvent[]>([]);
  useEffect(() => {
    events.value = [];
    const source = new EventSource(`${path}/events`);
    const add = (name: TaskEvent["name"]) => (event: MessageEvent<string>) => {
      const { at, ...data }: { at: string } & TaskEvent["data"] = JSON.parse(event.data);
      events.value = [...events.value, { id: event.lastEventId, name, at, data }].slice(-MAX_EVENTS_SHOWN);
    };
    for (const name of ["status", "progress", "step", "signal"] as const)
      source.addEventListener(name, add(name));
    return () => source.close();
  }, [path]);
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
function Next({ event: { data } }: { event: TaskEvent }) {
  if (data.runAt === undefined || Date.parse(data.runAt) < nowMs.value) return null;
  return (
    <>
      , goes on in <Until time={data.runAt} />
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
