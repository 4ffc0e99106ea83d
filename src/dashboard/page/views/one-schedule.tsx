/** A schedule: when it runs, its next and last runs, and what can be done with it. */
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { may, sendJson } from "../lib/api.ts";
import { cronInWords } from "../lib/cron-words.ts";
import { useLiveList } from "../lib/live-list.ts";
import { act, announce } from "../lib/notices.tsx";
import { linkTo } from "../lib/route.ts";
import { isSelecting } from "../lib/selection.ts";
import { sortedJson } from "../lib/sorted-json.ts";
import { Ago, exactText } from "../lib/time.tsx";
import type { Schedule, ScheduleRun, TaskLine } from "../lib/types.ts";

interface CardProps {
  schedule: Schedule;
  onEdit: () => void;
  onChanged: () => void;
}

export function OneSchedule({ schedule, onEdit, onChanged }: CardProps) {
  const { id, cron, timeZone, type, declared, paused, input, lastError } = schedule;
  const words = cronInWords(cron);
  return (
    <>
      <div class="title">
        <h2>{type}</h2>
        <code>{cron}</code>
        {declared && <span class="badge">declared in code</span>}
        {paused && <span class="badge warn">paused</span>}
      </div>
      <p class="faint">
        <code>{id}</code>
      </p>
      <p>
        {words ? `Runs ${words}, ` : "Runs by this pattern, "}
        {timeZone} time.
      </p>
      <Ticks schedule={schedule} />
      {lastError && (
        <p class="error">The latest tick could not be enqueued, and is tried again: {lastError.message}</p>
      )}
      <Disclosure title="Input">
        <pre tabIndex={0}>{sortedJson(input)}</pre>
      </Disclosure>
      <Disclosure title="Last runs">
        <Runs id={id} />
      </Disclosure>
      {may("write") && <Controls schedule={schedule} onEdit={onEdit} onChanged={onChanged} />}
    </>
  );
}

function Controls({ schedule: { id, type, cron, declared, paused }, onEdit, onChanged }: CardProps) {
  const change = (work: () => Promise<unknown>, said: string) =>
    act(async () => {
      await work();
      announce(said);
      onChanged();
    });
  const run = act(async () => {
    const started = await sendJson<{ taskId: string | null }>("POST", `/schedules/${id}/run`);
    announce(started?.taskId ? `The run of ${type} has started.` : `The run of ${type} waits to be started.`);
    onChanged();
  });
  const pause = change(
    async () => sendJson("PATCH", `/schedules/${id}`, { paused: !paused }),
    `The schedule of ${type} ${paused ? "goes on" : "is paused"}.`,
  );
  const remove = change(
    async () => sendJson("DELETE", `/schedules/${id}`),
    `The schedule of ${type} is deleted.`,
  );
  return (
    <p class="controls">
      <button type="button" class="quiet" onClick={run}>
        Run now
      </button>
      {!declared && (
        <>
          <button type="button" class="quiet" onClick={pause}>
            {paused ? "Resume" : "Pause"}
          </button>
          <button type="button" class="quiet" onClick={onEdit}>
            Edit
          </button>
          <button
            type="button"
            class="quiet"
            onClick={() => confirm(`Delete the schedule of ${type} (${cron})?`) && remove()}
          >
            Delete
          </button>
        </>
      )}
    </p>
  );
}

/** What is read only while it is open. */
function Disclosure({ title, children }: { title: string; children: ComponentChildren }) {
  const isOpen = useSignal(false);
  return (
    <details
      onToggle={({ currentTarget }) => {
        isOpen.value = currentTarget.open;
      }}
    >
      <summary>{title}</summary>
      {isOpen.value && children}
    </details>
  );
}

function Runs({ id }: { id: string }) {
  const { value, error } = useLiveList<{ runs: ScheduleRun[] }>(
    `/schedules/${id}/runs`,
    isSelecting.value,
    (apply) => ({
      schedules: ({ schedules }) => apply(Number(schedules.includes(id)), () => "read"),
      tasks: ({ tasks, removed }) =>
        apply(tasks.length + removed.length, ({ runs }) => ({ runs: withStatuses(runs, tasks, removed) })),
    }),
  );
  if (!value) return <p role="status">{error ?? "Loading…"}</p>;
  if (value.runs.length === 0) return <p class="faint">None yet.</p>;
  return (
    <ul>
      {value.runs.map(({ dueAt, taskId, status }) => (
        <li key={dueAt}>
          <a href={linkTo("tasks", taskId)}>
            <Ago time={dueAt} />
          </a>
          : {status ?? "no longer kept"}
        </li>
      ))}
    </ul>
  );
}

/** The runs after changes of some tasks. */
function withStatuses(
  runs: readonly ScheduleRun[],
  tasks: readonly TaskLine[],
  removed: readonly string[],
): ScheduleRun[] {
  const statuses = new Map(tasks.map(({ id, status }) => [id, status]));
  return runs.map((run) => ({
    ...run,
    status: removed.includes(run.taskId) ? null : (statuses.get(run.taskId) ?? run.status),
  }));
}

function Ticks({ schedule }: { schedule: Schedule }) {
  const { next, paused, lastTickAt, lastTaskId, skippedCount, missedCount, waiting } = schedule;
  const [first, ...later] = next;
  const counts = [
    [waiting, "wait"],
    [skippedCount, "skipped"],
    [missedCount, "missed"],
  ].filter(([count]) => count !== 0);
  return (
    <p>
      {first === undefined ? (
        paused ? (
          "No run while it is paused"
        ) : (
          "No further run"
        )
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
