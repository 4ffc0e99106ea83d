/** The schedules: when each runs, in words, with its next and last runs; and a form for a new one. */
import { useSignal } from "@preact/signals";
import { may, sendJson } from "../lib/api.ts";
import { cronInWords } from "../lib/cron-words.ts";
import { Hold } from "../lib/hold.tsx";
import { useLiveList } from "../lib/live-list.ts";
import { act, announce } from "../lib/notices.tsx";
import { linkTo } from "../lib/route.ts";
import { isSelecting } from "../lib/selection.ts";
import { sortedJson } from "../lib/sorted-json.ts";
import { Ago, exactText } from "../lib/time.tsx";
import type { Schedule } from "../lib/types.ts";
import { NewSchedule } from "./new-schedule.tsx";

export function Schedules() {
  const isPaused = useSignal(false);
  const isHeld = isPaused.value || isSelecting.value;
  const list = useLiveList<{ schedules: Schedule[] }>("/schedules", isHeld, (apply) => ({
    schedules: ({ schedules, removed }) => apply(schedules.length + removed.length, () => "read"),
  }));
  const isOpen = useSignal(false);
  if (!list.value) return <p role="status">{list.error ?? "Loading…"}</p>;
  const { schedules } = list.value;
  return (
    <>
      <h1>
        <a href={linkTo("tasks")}>Tasks</a> / Schedules
      </h1>
      <Hold list={list} isPaused={isPaused} />
      {may("write") && (
        <details
          class="card"
          open={isOpen}
          onToggle={({ currentTarget }) => {
            isOpen.value = currentTarget.open;
          }}
        >
          <summary>New schedule</summary>
          {isOpen.value && (
            <NewSchedule
              onCreated={() => {
                isOpen.value = false;
                list.refresh();
              }}
            />
          )}
        </details>
      )}
      <p class="faint">
        {schedules.length === 0 && "There are none yet. "}A schedule cannot be changed: delete it, and create
        another; ticks in between do not run. Those of src/jobs/schedules.ts are changed there.
      </p>
      <ul class="cards">
        {schedules.map((schedule) => (
          <li key={schedule.id} class="card">
            <OneSchedule schedule={schedule} onRemoved={list.refresh} />
          </li>
        ))}
      </ul>
    </>
  );
}

function OneSchedule({ schedule, onRemoved }: { schedule: Schedule; onRemoved: () => void }) {
  const { id, cron, timeZone, type, declared, input, lastError } = schedule;
  const remove = act(async () => {
    if (!confirm(`Delete the schedule of ${type} (${cron})?`)) return;
    await sendJson("DELETE", `/schedules/${id}`);
    announce(`The schedule of ${type} is deleted.`);
    onRemoved();
  });
  const words = cronInWords(cron);
  return (
    <>
      <div class="title">
        <h2>{type}</h2>
        <code>{cron}</code>
        {declared && <span class="badge">declared in code</span>}
      </div>
      <p>
        {words ? `Runs ${words}, ` : "Runs by this pattern, "}
        {timeZone} time.
      </p>
      <Runs schedule={schedule} />
      {lastError && (
        <p class="error">The latest tick could not be enqueued, and is tried again: {lastError.message}</p>
      )}
      <details>
        <summary>Input</summary>
        <pre tabIndex={0}>{sortedJson(input)}</pre>
      </details>
      {!declared && may("write") && (
        <p class="controls">
          <button type="button" class="quiet" onClick={remove}>
            Delete
          </button>
        </p>
      )}
    </>
  );
}

function Runs({ schedule }: { schedule: Schedule }) {
  const { next, lastTickAt, lastTaskId, skippedCount, missedCount, waiting } = schedule;
  const [first, ...later] = next;
  const counts = [
    [waiting, "wait"],
    [skippedCount, "skipped"],
    [missedCount, "missed"],
  ].filter(([count]) => count !== 0);
  return (
    <p>
      {first === undefined ? (
        "No further run"
      ) : (
        <>
          Next <Ago time={first} />
          {later.map((time) => (
            <time key={time} dateTime={time} title={exactText(time)}>
              ; {SHORT.format(new Date(time))}
            </time>
          ))}
        </>
      )}
      .{" "}
      {lastTaskId && lastTickAt ? (
        <>
          <a href={linkTo("tasks", lastTaskId)}>Last run</a> <Ago time={lastTickAt} />.
        </>
      ) : (
        "No run yet."
      )}
      {counts.length > 0 && ` Ticks: ${counts.map(([count, what]) => `${count} ${what}`).join(", ")}.`}
    </p>
  );
}

const SHORT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
