/** Tasks: the list, with its filters in the URL; one task, as a timeline of its events; a form for each type. */
import { may } from "../lib/api.ts";
import { staleText, usePolled } from "../lib/poll.ts";
import { linkTo, route, setQuery } from "../lib/route.ts";
import { Ago, Duration } from "../lib/time.tsx";
import { STATUSES, stateOf, type TaskLine, type TaskType } from "../lib/types.ts";
import { NewTask } from "./new-task.tsx";
import { OneTask } from "./one-task.tsx";
import { Schedules } from "./schedules.tsx";

const REFRESH_MS = 1_500;

export function Tasks() {
  const { id } = route.value;
  if (id === "new") return <NewTask />;
  if (id === "schedules") return <Schedules />;
  return id === "" ? <TaskList /> : <OneTask id={id} />;
}

function TaskList() {
  const { query } = route.value;
  const filters = new URLSearchParams({ limit: "50" });
  for (const name of ["status", "type", "cursor"]) filters.set(name, query.get(name) ?? "");
  const page = usePolled<{ tasks: TaskLine[]; next: string | null }>(`/tasks?${String(filters)}`, REFRESH_MS);
  const next = page.value?.next;
  return (
    <>
      <div class="title">
        <h1>Tasks</h1>
        {may("write") && <a href={linkTo("tasks", "new")}>New task</a>}
        <a href={linkTo("tasks", "schedules")}>Schedules</a>
      </div>
      <Filters />
      <p class="error" role="status">
        {staleText(page)}
      </p>
      {page.value && <Table tasks={page.value.tasks} />}
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
    </>
  );
}

const set = (name: string) => (event: { currentTarget: HTMLSelectElement }) =>
  setQuery({ [name]: event.currentTarget.value, cursor: undefined });

function Filters() {
  const types = usePolled<{ taskTypes: TaskType[] }>("/task-types", 60_000);
  const { query } = route.value;
  return (
    <form class="filters" onSubmit={(event) => event.preventDefault()}>
      <label>
        Status{" "}
        <select value={query.get("status") ?? ""} onChange={set("status")}>
          <option value="">any</option>
          {STATUSES.map((status) => (
            <option key={status}>{status}</option>
          ))}
        </select>
      </label>
      <label>
        Type{" "}
        <select value={query.get("type") ?? ""} onChange={set("type")}>
          <option value="">any</option>
          {types.value?.taskTypes.map(({ name }) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </label>
    </form>
  );
}

function Table({ tasks }: { tasks: TaskLine[] }) {
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
            <tr key={task.id}>
              <td>
                <a href={linkTo("tasks", task.id)}>{task.type}</a>
              </td>
              <td>
                <State task={task} />
              </td>
              <td>
                <Ago time={task.createdAt} />
              </td>
              <td>{task.startedAt && <Duration from={task.startedAt} to={task.finishedAt} />}</td>
              <td>{task.error?.message ?? task.progress?.message ?? percent(task)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function State({ task }: { task: TaskLine }) {
  const state = stateOf(task);
  return <span class={`state ${state}`}>{state}</span>;
}

const percent = ({ progress }: TaskLine) => (progress ? `${Math.round(progress.ratio * 100)} %` : "");
