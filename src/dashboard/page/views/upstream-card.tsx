/** One upstream: permits held and free, the queue behind them, what is in the way, and what an operator may change. */
import { may, sendJson } from "../lib/api.ts";
import { Chart } from "../lib/chart.tsx";
import { act, announce } from "../lib/notices.tsx";
import { ratesOf, type Sample } from "../lib/rates.ts";
import { linkTo } from "../lib/route.ts";
import { Ago, nowMs, Until } from "../lib/time.tsx";
import { BREAKER, groupWaiters, heldPermits, OBSTACLES, type Status } from "../lib/upstream.ts";
import { TryUpstream } from "./try-upstream.tsx";
import { UpstreamLists } from "./upstream-lists.tsx";

/** So many permits, and so many who wait, are drawn one by one. */
const MAX_DRAWN = 60;

interface Props {
  status: Status;
  samples: readonly Sample[];
  isWhole: boolean;
  /** Gets the status with the change in force. */
  onChanged: (status: Status) => void;
}

export function UpstreamCard({ status, samples, isWhole, onChanged }: Props) {
  const { name, waiting, limitNow, concurrency, rate } = status;
  return (
    <section class="card" aria-label={name}>
      <div class="title">
        <h2>{isWhole ? name : <a href={linkTo("upstreams", name)}>{name}</a>}</h2>
        <Badges status={status} />
      </div>
      <Permits status={status} />
      <p>
        {heldPermits(status)} of {limitNow} permits held, {waiting.count} waiting
        {limitNow < concurrency && ` (limit ${concurrency})`}
        {rate && `, at most ${rate.per_second} a second`}.
      </p>
      <Shards status={status} />
      <Obstacle status={status} />
      <Queue status={status} />
      <Charts samples={samples} />
      <Totals status={status} />
      {may("admin") && <Controls status={status} onChanged={onChanged} />}
      {isWhole && (
        <>
          <TryUpstream name={name} />
          <UpstreamLists status={status} />
        </>
      )}
    </section>
  );
}

function Badges({ status: { paused, breaker, overridden } }: { status: Status }) {
  return (
    <>
      {paused && <span class="badge warn">paused</span>}
      <span class={breaker === "closed" ? "badge" : "badge error"}>{BREAKER[breaker]}</span>
      {overridden.length > 0 && <span class="badge">changed: {overridden.join(", ")}</span>}
    </>
  );
}

/** Held permits are filled squares, free ones are outlined; what the limit has lost is dotted. */
function Permits({ status }: { status: Status }) {
  const { concurrency, limitNow } = status;
  const held = heldPermits(status);
  const drawn = Math.min(Math.max(concurrency, held), MAX_DRAWN);
  return (
    <div class="permits" role="img" aria-label={`${held} of ${limitNow} permits are held`}>
      {Array.from({ length: drawn }, (_, i) => (
        <i key={i} class={i < held ? "held" : i < limitNow ? "free" : "lost"} />
      ))}
      {Math.max(concurrency, held) > MAX_DRAWN && <span>… {concurrency}</span>}
    </div>
  );
}

/** Where the semaphore is several objects. */
function Shards({ status: { shards } }: { status: Status }) {
  if (!shards) return null;
  const { count, lost } = shards;
  if (lost.length === 0) return <p class="faint">{count} shards.</p>;
  return (
    <p class="error">
      Of {count} shards, these do not respond: {lost.join(", ")}. What they hold is missing here.
    </p>
  );
}

function Obstacle({ status: { obstacle } }: { status: Status }) {
  if (!obstacle) return null;
  return (
    <p class={obstacle.is === "concurrency" ? "faint" : "warn"}>
      {OBSTACLES[obstacle.is]}
      {obstacle.until && (
        <>
          , for <Until time={obstacle.until} />
        </>
      )}
      .
    </p>
  );
}

/** Who waits, by class and caller: a round mark for each call. */
function Queue({ status: { waiting } }: { status: Status }) {
  if (waiting.count === 0) return null;
  const unlisted = waiting.count - waiting.callers.length;
  return (
    <ul class="queue" aria-label="Queue">
      {groupWaiters(waiting.callers).map(({ priority, caller, count, since }) => (
        <li key={`${priority} ${caller}`}>
          <span class="permits" aria-hidden="true">
            {Array.from({ length: Math.min(count, MAX_DRAWN) }, (_, i) => (
              <i key={i} class="waits" />
            ))}
          </span>
          <span>
            {count} of <b>{caller}</b> ({priority}), the first <Ago time={since} />
          </span>
        </li>
      ))}
      {unlisted > 0 && <li class="faint">and {unlisted} more</li>}
    </ul>
  );
}

function Charts({ samples }: { samples: readonly Sample[] }) {
  const rates = ratesOf(samples, nowMs.value);
  return (
    <div class="charts">
      <Chart label="Calls" unit="a second" series={rates.callsPerSecond} />
      <Chart label="Waited (p99)" unit="s" series={rates.waitP99Seconds} inner={rates.waitP50Seconds} />
      <Chart label="Longest wait now" unit="s" series={rates.waitSeconds} />
      <Chart label="Errors" unit="a second" series={rates.errorsPerSecond} bad />
    </div>
  );
}

function Totals({ status: { totals, latencyMs } }: { status: Status }) {
  const { granted, outcomes, since } = totals;
  const refused = Object.entries(totals.refused).filter(([, count]) => count > 0);
  return (
    <p class="faint">
      {granted} calls, {outcomes.ok} ok, {outcomes.failed} failed, {outcomes.overloaded} overloaded
      {refused.map(([reason, count]) => `, ${count} refused (${reason})`)}; began <Ago time={since} />.
      {latencyMs &&
        ` A call takes ${Math.round(latencyMs.p50)} ms in the middle, ${Math.round(latencyMs.p99)} ms at the 99th percentile.`}
    </p>
  );
}

function Controls({ status: { name, concurrency, paused }, onChanged }: Pick<Props, "status" | "onChanged">) {
  const change = (what: object, done: string) =>
    act(async () => {
      const status = await sendJson<Status>("PATCH", `/upstreams/${name}`, what);
      if (status) onChanged(status);
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
