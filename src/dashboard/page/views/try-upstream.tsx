/** Trying an upstream: one GET through its semaphore, and where its time went. */
import { useSignal } from "@preact/signals";
import { act } from "../lib/notices.tsx";
import { readServerTiming, type Span } from "../lib/server-timing.ts";

/** So much of the response is shown. */
const MAX_SHOWN = 4_000;

interface Trial {
  status: string;
  isGood: boolean;
  cache: string;
  /** The browser had kept the response of an earlier call: nothing was called now. */
  isKept: boolean;
  spans: Span[];
  /** Until the head of the response was here. */
  totalMs: number;
  text: string;
}

export function TryUpstream({ name }: { name: string }) {
  const path = useSignal("");
  const trial = useSignal<Trial | undefined>(undefined);
  const isRunning = useSignal(false);
  const run = act(async () => {
    isRunning.value = true;
    try {
      trial.value = await tryCall(name, path.value);
    } finally {
      isRunning.value = false;
    }
  });
  return (
    <section aria-label="Try it">
      <h3>Try it</h3>
      <form
        class="filters"
        onSubmit={(event) => {
          event.preventDefault();
          run();
        }}
      >
        <label>
          GET <code>/fetch/{name}/</code>{" "}
          <input
            value={path}
            placeholder="todos/1"
            onInput={({ currentTarget }) => {
              path.value = currentTarget.value;
            }}
          />
        </label>
        <button type="submit" disabled={isRunning}>
          Call
        </button>
      </form>
      <p role="status">{trial.value && <Summary trial={trial.value} />}</p>
      {trial.value && (
        <>
          <TimeBar trial={trial.value} />
          <pre tabIndex={0}>{trial.value.text}</pre>
        </>
      )}
    </section>
  );
}

async function tryCall(name: string, path: string): Promise<Trial> {
  const base = `${location.origin}/fetch/${encodeURIComponent(name)}/`;
  const url = new URL(base + path.replace(/^\/+/, ""));
  if (!url.href.startsWith(base)) throw new RangeError(`The path must stay below /fetch/${name}/.`);
  const startedAtMs = performance.now();
  const response = await fetch(url);
  const totalMs = performance.now() - startedAtMs;
  const { headers, ok, status, statusText } = response;
  const text = await response.text();
  return {
    status: `${status} ${statusText}`,
    isGood: ok,
    cache: headers.get("Cache-Status") ?? "",
    isKept: isFromBrowser(url.href),
    spans: readServerTiming(headers.get("Server-Timing") ?? ""),
    totalMs,
    text: text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text,
  };
}

function isFromBrowser(url: string): boolean {
  const entry = performance.getEntriesByName(url, "resource").at(-1);
  return entry instanceof PerformanceResourceTiming && entry.transferSize === 0;
}

/** In Sluice's words, where the time went. */
const NAMES: Record<string, string> = { queue: "waiting for a permit", upstream: "upstream" };

function Summary({ trial: { status, isGood, cache, isKept, totalMs } }: { trial: Trial }) {
  return (
    <>
      <strong class={isGood ? "good" : "error"}>{status}</strong> in {Math.round(totalMs)} ms
      {cache && (
        <>
          , Cache-Status <code>{cache}</code>
        </>
      )}
      {isKept &&
        ". This browser had kept it: nothing was called, and the times are those of the earlier call."}
    </>
  );
}

const WIDTH = 400;

function TimeBar({ trial: { spans, totalMs } }: { trial: Trial }) {
  const rest = Math.max(0, totalMs - spans.reduce((sum, { ms }) => sum + ms, 0));
  const parts = [...spans, { name: "rest", ms: rest, description: "" }];
  const total = Math.max(
    1,
    parts.reduce((sum, { ms }) => sum + ms, 0),
  );
  let x = 0;
  return (
    <>
      <svg class="time-bar" viewBox={`0 0 ${WIDTH} 16`} preserveAspectRatio="none" aria-hidden="true">
        {parts.map(({ name, ms }) => {
          const width = (ms / total) * WIDTH;
          x += width;
          return <rect key={name} class={`part-${name}`} x={x - width} y="0" width={width} height="16" />;
        })}
      </svg>
      <ul class="legend">
        {parts.map(({ name, ms, description }) => (
          <li key={name}>
            <i class={`part-${name}`} /> {NAMES[name] ?? name} {Math.round(ms)} ms
            {description && ` (${description})`}
          </li>
        ))}
      </ul>
    </>
  );
}
