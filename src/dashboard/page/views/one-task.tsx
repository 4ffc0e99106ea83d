/** One task: what it was given, what became of it, and its history as it happens. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { may, sendJson } from "../lib/api.ts";
import { act, announce } from "../lib/notices.tsx";
import { staleText, usePolled } from "../lib/poll.ts";
import { linkTo } from "../lib/route.ts";
import { Ago, Duration } from "../lib/time.tsx";
import { stateOf, type Task } from "../lib/types.ts";

const REFRESH_MS = 2_000;
const FINAL = ["succeeded", "failed", "cancelled"];
const MAX_EVENTS_SHOWN = 500;

interface Entry {
  id: string;
  name: string;
  at: string;
  details: Record<string, unknown>;
}

export function OneTask({ id }: { id: string }) {
  const path = `/tasks/${encodeURIComponent(id)}`;
  const task = usePolled<Task>(path, REFRESH_MS);
  if (!task.value) return <p role="status">{staleText(task) || "Loading…"}</p>;
  const { type, status, attempt, crashes, createdAt, startedAt, finishedAt, input, result, error } =
    task.value;
  return (
    <>
      <div class="title">
        <h1>
          <a href={linkTo("tasks")}>Tasks</a> / {type}
        </h1>
        <span class={`state ${stateOf(task.value)}`}>{stateOf(task.value)}</span>
      </div>
      <p class="faint">
        <code>{id}</code>, created <Ago time={createdAt} />, attempt {attempt}
        {crashes > 0 && `, ${crashes} crashes`}
        {startedAt && (
          <>
            , took <Duration from={startedAt} to={finishedAt} />
          </>
        )}
      </p>
      <p class="error" role="status">
        {staleText(task)}
      </p>
      <Actions id={id} isFinal={FINAL.includes(status)} path={path} onDone={task.refresh} />
      {error && (
        <p class="error">
          {error.name}: {error.message}
        </p>
      )}
      <div class="cards">
        <Json title="Input" value={input} />
        {status === "succeeded" && <Json title="Result" value={result} />}
      </div>
      <History path={path} />
    </>
  );
}

function Actions({
  id,
  isFinal,
  path,
  onDone,
}: {
  id: string;
  isFinal: boolean;
  path: string;
  onDone: () => void;
}) {
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
      {isFinal && (
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
  const text = JSON.stringify(value, null, 2);
  return (
    <section class="card">
      <div class="title">
        <h2>{title}</h2>
        <button
          type="button"
          class="quiet"
          onClick={act(async () => {
            await navigator.clipboard.writeText(text);
            announce(`${title} copied.`);
          })}
        >
          Copy
        </button>
      </div>
      <pre tabIndex={0}>{text}</pre>
    </section>
  );
}

/** The task's events: those so far, and each as it happens. The browser reconnects by itself, and continues. */
function History({ path }: { path: string }) {
  const entries = useSignal<Entry[]>([]);
  useEffect(() => {
    entries.value = [];
    const source = new EventSource(`${path}/events`);
    const add = (name: string) => (event: MessageEvent<string>) => {
      const { at, ...details }: Record<string, unknown> = JSON.parse(event.data);
      const entry = { id: event.lastEventId, name, at: String(at), details };
      entries.value = [...entries.value, entry].slice(-MAX_EVENTS_SHOWN);
    };
    for (const name of ["status", "progress", "step"]) source.addEventListener(name, add(name));
    return () => source.close();
  }, [path]);
  return (
    <section class="card">
      <h2>History</h2>
      <ol class="timeline">
        {entries.value.map(({ id, name, at, details }) => (
          <li key={id} class={name}>
            <Ago time={at} /> <strong>{name}</strong>{" "}
            {Object.entries(details)
              .filter(([, value]) => value !== null)
              .map(([key, value]) => `${key}: ${typeof value === "string" ? value : JSON.stringify(value)}`)
              .join(", ")}
          </li>
        ))}
      </ol>
    </section>
  );
}
