/** One task: what it was given, what became of it, and its history as it happens. */
import { may, sendJson } from "../lib/api.ts";
import { Copy } from "../lib/copy.tsx";
import { describeLiveness } from "../lib/live.ts";
import { useLiveList } from "../lib/live-list.ts";
import { act, announce } from "../lib/notices.tsx";
import { linkTo } from "../lib/route.ts";
import { isSelecting } from "../lib/selection.ts";
import { sortedJson } from "../lib/sorted-json.ts";
import { Ago, Duration, Until } from "../lib/time.tsx";
import { FINAL_STATUSES, stateOf, type Task, type TaskChanges } from "../lib/types.ts";
import { Tags } from "./tags.tsx";
import { TaskHistory } from "./task-history.tsx";
import { TaskSignals } from "./task-signals.tsx";
import { TaskTree } from "./task-tree.tsx";

/** Each task has a state of its own: nothing of one shows under the name of another. */
export function OneTask({ id }: { id: string }) {
  return <Whole key={id} id={id} />;
}

function Whole({ id }: { id: string }) {
  const path = `/tasks/${encodeURIComponent(id)}`;
  const list = useLiveList<Task>(path, isSelecting.value, (apply) => ({
    tasks: (changes) => apply(countOf(changes, [id, ...childrenOf(list.value)]), () => "read"),
  }));
  const { value: task, error: failure, missed, refresh } = list;
  if (!task) return <p role="status">{failure ?? "Loading…"}</p>;
  const { type, status, input, result, error, followUps, waitingFor, parent, children = [] } = task;
  const state = stateOf(task);
  return (
    <>
      <div class="title">
        <h1>
          <a href={linkTo("tasks")}>Tasks</a> / {type}
        </h1>
        <span class={`state ${state}`}>{state}</span>
        <span class="faint" role="status">
          {isSelecting.value ? describeHeld(missed) : describeLiveness()}
        </span>
      </div>
      <Facts task={task} />
      <p class="error" role="status">
        {failure === undefined ? "" : `Not up to date: ${failure}`}
      </p>
      <Actions
        id={id}
        isFinal={FINAL_STATUSES.includes(status)}
        mayRetry={["failed", "cancelled"].includes(status)}
        path={path}
        onDone={refresh}
      />
      {error && status !== "failed" && <LastFailure task={task} error={error} />}
      {waitingFor && <TaskSignals path={path} waitingFor={waitingFor} onDone={refresh} />}
      <div class="cards">
        {status === "failed" && error && <Json title="Error" value={error} />}
        {status === "succeeded" && <Json title="Result" value={result} />}
        <Json title="Input" value={input} />
      </div>
      {followUps.length > 0 && (
        <p>
          It started{" "}
          {followUps.map((next, i) => (
            <a key={next} href={linkTo("tasks", next)}>
              {i > 0 && ", "}
              {next}
            </a>
          ))}
          .
        </p>
      )}
      <TaskTree parent={parent} children={children} />
      <TaskHistory path={path} task={task} />
    </>
  );
}

const childrenOf = (task: Task | undefined): string[] => (task?.children ?? []).map(({ id }) => id);

/** How many of these tasks have changed or are gone. */
const countOf = ({ tasks, removed }: TaskChanges, ids: readonly string[]): number =>
  [...tasks.map(({ id }) => id), ...removed].filter((id) => ids.includes(id)).length;

const describeHeld = (missed: number): string =>
  `Updates wait while text is selected${missed === 0 ? "." : ": there is something new."}`;

function Facts({ task }: { task: Task }) {
  const { id, traceId, createdAt, attempt, crashes, startedAt, finishedAt, tags, scheduleId } = task;
  return (
    <>
      <p class="faint">
        Created <Ago time={createdAt} />, attempt {attempt}
        {crashes > 0 && `, ${crashes} crashes`}
        {startedAt && (
          <>
            , {finishedAt ? "took" : "for"} <Duration from={startedAt} to={finishedAt} />
          </>
        )}
        .{" "}
        {scheduleId && (
          <>
            A run of <a href={linkTo("tasks", "", { schedule: scheduleId })}>its schedule</a>.{" "}
          </>
        )}
        <Tags tags={tags} />
      </p>
      <p class="faint">
        Its log lines have <code class="digest">taskId: {id}</code> <Copy text={id} what="The id" />
        {traceId && (
          <>
            {" "}
            It is part of the trace <code class="digest">{traceId}</code>{" "}
            <Copy text={traceId} what="The trace's id" />
          </>
        )}
      </p>
    </>
  );
}

/** An attempt has failed, and the task has not: it goes on. */
function LastFailure({ task: { runAt }, error }: { task: Task; error: { name: string; message: string } }) {
  return (
    <p class="warn">
      The last attempt failed: {error.name}: {error.message.replace(/\.$/, "")}
      {runAt && (
        <>
          . The next one begins in <Until time={runAt} />
        </>
      )}
      .
    </p>
  );
}

interface ActionsProps {
  id: string;
  isFinal: boolean;
  /** It failed or was cancelled. */
  mayRetry: boolean;
  path: string;
  onDone: () => void;
}

function Actions({ id, isFinal, mayRetry, path, onDone }: ActionsProps) {
  const post = (verb: string, done: string) =>
    act(async () => {
      await sendJson("POST", `${path}/${verb}`);
      announce(done);
      onDone();
    });
  const remove = act(async () => {
    if (!confirm(`Delete the task ${id}?`)) return;
    await sendJson("DELETE", path);
    location.hash = linkTo("tasks");
  });
  if (!may("write")) return null;
  return (
    <p class="controls">
      {!isFinal && (
        <button type="button" onClick={post("cancel", "The task is being cancelled.")}>
          Cancel
        </button>
      )}
      {mayRetry && (
        <button type="button" onClick={post("retry", "The task runs again.")}>
          Retry
        </button>
      )}
      {isFinal && (
        <button type="button" class="quiet" onClick={remove}>
          Delete
        </button>
      )}
    </p>
  );
}

function Json({ title, value }: { title: string; value: unknown }) {
  const text = sortedJson(value);
  return (
    <section class="card" aria-label={title}>
      <div class="title">
        <h2>{title}</h2>
        <Copy text={text} what={title} />
      </div>
      <pre tabIndex={0}>{text}</pre>
    </section>
  );
}
