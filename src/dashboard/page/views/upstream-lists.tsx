/** The shards of an upstream that has several, its limit keys, who holds a permit, and who waits for one, each since when. */
import type { ComponentChild } from "preact";
import { Ago, Until } from "../lib/time.tsx";
import { callerOf, type Status } from "../lib/upstream.ts";

export function UpstreamLists({ status: { held, waiting, shards, keys } }: { status: Status }) {
  return (
    <>
      {shards && <Shards shards={shards} />}
      {keys && <Keys keys={keys} />}
      <h3>Who holds a permit{firstOf(held.leases.length, held.count)}</h3>
      {held.leases.length === 0 ? (
        <p class="faint">Nobody.</p>
      ) : (
        <Table
          heads={["Caller", "Request", ...claimHeads(held.leases), "Since", "Lease ends in"]}
          rows={held.leases.map((lease) => ({
            id: lease.id,
            cells: [
              ...who(lease.holder),
              ...claimCells(held.leases, lease),
              <Ago key="since" time={lease.since} />,
              <Until key="until" time={lease.until} />,
            ],
          }))}
        />
      )}
      <h3>Who waits{firstOf(waiting.callers.length, waiting.count)}</h3>
      {waiting.callers.length === 0 ? (
        <p class="faint">Nobody.</p>
      ) : (
        <Table
          heads={["Caller", "Request", "Class", ...claimHeads(waiting.callers), "Since"]}
          rows={waiting.callers.map((waiter) => ({
            id: waiter.id,
            cells: [
              ...who(waiter.holder),
              waiter.priority,
              ...claimCells(waiting.callers, waiter),
              <Ago key="since" time={waiter.since} />,
            ],
          }))}
        />
      )}
    </>
  );
}

/** A status lists the first hundred. */
const firstOf = (listed: number, count: number): string =>
  listed < count ? `: the first ${listed} of ${count}` : "";

function Keys({ keys: { count, top } }: { keys: NonNullable<Status["keys"]> }) {
  return (
    <>
      <h3>Limit keys</h3>
      <Table
        heads={["Key", "Waiting", "Permits"]}
        rows={top.map(({ key, waiting, held }) => ({
          id: key,
          cells: [<code key="key">{key}</code>, waiting, held],
        }))}
      />
      {count > top.length && <p class="faint">and {count - top.length} more</p>}
    </>
  );
}

type Call = Status["waiting"]["callers"][number] | Status["held"]["leases"][number];

/** Only where some call says so. */
const claimHeads = (calls: Call[]) => [
  ...(calls.some(({ key }) => key) ? ["Key"] : []),
  ...(calls.some(({ weight }) => weight) ? ["Weight"] : []),
];

const claimCells = (calls: Call[], { key, weight = 1 }: Call) =>
  claimHeads(calls).map((head) => (head === "Key" ? <code key="key">{key}</code> : weight));

function Shards({ shards: { responding } }: { shards: NonNullable<Status["shards"]> }) {
  return (
    <>
      <h3>Shards</h3>
      <Table
        heads={["Shard", "Limit", "Held", "Waiting"]}
        rows={responding.map(({ shard, concurrency, held, waiting }) => ({
          id: String(shard),
          cells: [shard, concurrency, held, waiting],
        }))}
      />
    </>
  );
}

function who(holder: string) {
  const { caller, requestId } = callerOf(holder);
  return [caller, <code key="request">{requestId}</code>];
}

function Table({ heads, rows }: { heads: string[]; rows: { id: string; cells: ComponentChild[] }[] }) {
  return (
    <div class="scroll" tabIndex={0}>
      <table>
        <thead>
          <tr>
            {heads.map((head) => (
              <th key={head} scope="col">
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(({ id, cells }) => (
            <tr key={id}>
              {cells.map((cell, i) => (
                <td key={i}>{cell}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
