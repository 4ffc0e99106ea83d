/** The list of tasks, as it changes. It stands still while somebody selects text in it, or asks for that. */
import { useSignal } from "@preact/signals";
import { may } from "../lib/api.ts";
import { Hold } from "../lib/hold.tsx";
import { linkTo, route, setQuery } from "../lib/route.ts";
import { isSelecting } from "../lib/selection.ts";
import { hasText } from "../lib/task-list.ts";
import { useTaskPage } from "../lib/task-page.ts";
import { Ago, Duration } from "../lib/time.tsx";
import { stateOf, type TaskLine } from "../lib/types.ts";
import { BulkActions } from "./bulk-actions.tsx";
import { StatusCounts } from "./status-counts.tsx";
import { Tags } from "./tags.tsx";
import { TaskFilters } from "./task-filters.tsx";
import { TypeFigures } from "./type-figures.tsx";

export function TaskList() {
  const { query } = route.value;
  const isPaused = useSignal(false);
  const isHeld = isPaused.value || isSelecting.value;
  const page = useTaskPage(isHeld);
  const next = page.value?.next;
  const text = query.get("text") ?? "";
  const tasks = page.value?.tasks.filter((task) => hasText(task, text));
  return (
    <>
      <div class="title">
        <h1>Tasks</h1>
        {may("write") && <a href={linkTo("tasks", "new")}>New task</a>}
        <a href={linkTo("tasks", "schedules")}>Schedules</a>
      </div>
      <StatusCounts />
      <TaskFilters />
      <Hold list={page} isPaused={isPaused} />
      {tasks && <Table tasks={tasks} />}
      <p class="controls">
        {query.get("cursor") && (
          <button type="button" class="quiet" onClick={() => setQuery({ cursor: undefined })}>
            Newest
          </button>
        )}
        {next && (
          <button type="button" class="quiet" onClick={() => setQuery({ cursor: next })}>
            Older
          </button>
        )}
      </p>
      <TypeFigures tasks={page.value?.tasks ?? []} />
      {may("write") && may("read") && <BulkActions onDone={page.refresh} />}
    </>
  );
}

function Table({ tasks }: { tasks: readonly TaskLine[] }) {
  if (tasks.length === 0) return <p class="faint">There are no such tasks.</p>;
  return (
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th scope="col">Task</th>
            <th scope="col">Status</th>
            <th scope="col">Created</th>
            <th scope="col">Took</th>
            <th scope="col">Progress</th>
          </tr>
        </thead>
        <tbody>
          {tasks.map((task) => (
            <Row key={task.id} task={task} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Row({ task }: { task: TaskLine }) {
  const state = stateOf(task);
  return (
    <tr>
      <td>
        <a href={linkTo("tasks", task.id)}>{task.type}</a> <Tags tags={task.tags} />
      </td>
      <td>
        <span class={`state ${state}`}>{state}</span>
      </td>
      <td>
        <Ago time={task.createdAt} />
      </td>
      <td>{task.startedAt && <Duration from={task.startedAt} to={task.finishedAt} />}</td>
      <td>{task.error?.message ?? task.progress?.message ?? percent(task)}</td>
    </tr>
  );
}

const percent = ({ progress }: TaskLine) => (progress ? `${Math.round(progress.ratio * 100)} %` : "");
