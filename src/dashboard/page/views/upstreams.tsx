/** The upstreams: each semaphore with its permits, its queue, and what is in the way; and what an operator may change. */
import { may, sendJson } from "../lib/api.ts";
import { act, announce } from "../lib/notices.tsx";
import { staleText, usePolled } from "../lib/poll.ts";
import { linkTo, route } from "../lib/route.ts";
import { Ago, Until } from "../lib/time.tsx";

/** As `GET /upstreams` has it. */
interface Status {
  name: string;
  concurrency: number;
  limitNow: number;
  rate: { per_second: number; burst: number } | null;
  paused: boolean;
  obstacle: { is: keyof typeof OBSTACLES; until: string | null } | null;
  breaker: "closed" | "open" | "half-open";
  held: { count: number; leases: { id: string; holder: string; since: string; until: string }[] };
  waiting: {
    count: number;
    callers: { id: string; position: number; holder: string; priority: string; since: string }[];
  };
  totals: { granted: number; outcomes: Record<string, number>; refused: Record<string, number> };
  latencyMs: { p50: number; p90: number; p99: number } | null;
  /** If its semaphore is several objects. */
  shards?: { count: number; lost: number[] };
}

/** Why nobody gets a permit right now. */
const OBSTACLES = {
  restarted: "Its object has just restarted, and waits for earlier calls to end",
  paused: "Paused",
  "breaker-open": "The breaker is open: too many calls failed",
  probe: "One call tries whether it works again",
  concurrency: "All permits are held",
  rate: "The rate allows no call yet",
};

/** So many permits are drawn one by one. */
const MAX_DRAWN = 60;
const REFRESH_MS = 1_000;

export function Upstreams() {
  const list = usePolled<{ upstreams: Status[]; unavailable: string[] }>("/upstreams", REFRESH_MS);
  const { id } = route.value;
  if (!list.value) return <p role="status">{staleText(list) || "Loading…"}</p>;
  const { upstreams, unavailable } = list.value;
  const shown = upstreams.filter(({ name }) => id === "" || name === id);
  return (
    <>
      <h1>{id === "" ? "Upstreams" : <a href={linkTo("upstreams")}>Upstreams</a>}</h1>
      <p class="error" role="status">
        {staleText(list)}
      </p>
      {unavailable.length > 0 && (
        <p class="error">Not responding: {unavailable.join(", ")}. The log says why.</p>
      )}
      <div class="cards">
        {shown.map((status) => (
          <Upstream key={status.name} status={status} isWhole={id !== ""} />
        ))}
      </div>
    </>
  );
}

function Upstream({ status, isWhole }: { status: Status; isWhole: boolean }) {
  const { name, obstacle, held, waiting, latencyMs, totals } = status;
  return (
    <section class="card" aria-label={name}>
      <h2>
        <a href={linkTo("upstreams", name)}>{name}</a>
      </h2>
      <Permits status={status} />
      <p>
        {held.count} of {status.limitNow} permits held, {waiting.count} waiting
        {status.limitNow < status.concurrency && ` (limit ${status.concurrency})`}
        {status.rate && `, at most ${status.rate.per_second} a second`}.
      </p>
      {obstacle && (
        <p class={obstacle.is === "concurrency" ? "faint" : "warn"}>
          {OBSTACLES[obstacle.is]}
          {obstacle.until && (
            <>
              , for <Until time={obstacle.until} />
            </>
          )}
          .
        </p>
      )}
      {status.shards && <Shards shards={status.shards} />}
      <p class="faint">
        {totals.granted} calls: {totals.outcomes.ok} ok, {totals.outcomes.failed} failed,{" "}
        {totals.outcomes.overloaded} overloaded.{latencyMs && ` Median ${Math.round(latencyMs.p50)} ms.`}
      </p>
      {may("admin") && <Controls status={status} />}
      {isWhole && <Lists status={status} />}
    </section>
  );
}

function Shards({ shards: { count, lost } }: { shards: NonNullable<Status["shards"]> }) {
  if (lost.length === 0) return <p class="faint">{count} shards.</p>;
  return (
    <p class="error">
      Of {count} shards, these do not respond: {lost.join(", ")}. What they hold is missing here.
    </p>
  );
}

/** Held permits are filled squares, free ones are outlined; what the limit has lost is crossed out. */
function Permits({ status: { concurrency, limitNow, held, waiting } }: { status: Status }) {
  const drawn = Math.min(Math.max(concurrency, held.count), MAX_DRAWN);
  return (
    <div
      class="permits"
      role="img"
      aria-label={`${held.count} of ${limitNow} permits are held, ${waiting.count} wait`}
    >
      {Array.from({ length: drawn }, (_, i) => (
        <i key={i} class={i < held.count ? "held" : i < limitNow ? "free" : "lost"} />
      ))}
      {concurrency > MAX_DRAWN && <span>… {concurrency}</span>}
      {waiting.count > 0 && <span class="queue">← {waiting.count}</span>}
    </div>
  );
}

function Controls({ status: { name, concurrency, paused } }: { status: Status }) {
  const change = (what: object, done: string) =>
    act(async () => {
      await sendJson("PATCH", `/upstreams/${name}`, what);
      announce(`${name}: ${done}.`);
    });
  return (
    <p class="controls">
      <button type="button" onClick={change({ paused: !paused }, paused ? "resumed" : "paused")}>
        {paused ? "Resume" : "Pause"}
      </button>
      <button
        type="button"
        class="quiet"
        disabled={concurrency <= 1}
        aria-label={`Lower the limit of ${name}`}
        onClick={change({ concurrency: concurrency - 1 }, `limit ${concurrency - 1}`)}
      >
        −
      </button>
      <span>limit {concurrency}</span>
      <button
        type="button"
        class="quiet"
        aria-label={`Raise the limit of ${name}`}
        onClick={change({ concurrency: concurrency + 1 }, `limit ${concurrency + 1}`)}
      >
        +
      </button>
    </p>
  );
}

function Lists({ status: { held, waiting } }: { status: Status }) {
  return (
    <>
      <h3>Who holds a permit</h3>
      <ul>
        {held.leases.map(({ id, holder, since }) => (
          <li key={id}>
            {holder}, <Ago time={since} />
          </li>
        ))}
      </ul>
      <h3>Who waits</h3>
      <ol>
        {waiting.callers.map(({ id, holder, priority, since }) => (
          <li key={id}>
            {holder} ({priority}), <Ago time={since} />
          </li>
        ))}
      </ol>
    </>
  );
}
