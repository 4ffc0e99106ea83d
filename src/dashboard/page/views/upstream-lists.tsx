/** The shards of an upstream that has several, who holds a permit, and who waits for one, each since when. */
import type { ComponentChild } from "preact";
import { Ago, Until } from "../lib/time.tsx";
import { callerOf, type Status } from "../lib/upstream.ts";

export function UpstreamLists({ status: { held, waiting, shards } }: { status: Status }) {
  return (
    <>
      {shards && <Shards shards={shards} />}
      <h3>Who holds a permit{firstOf(held.leases.length, held.count)}</h3>
      {held.leases.length === 0 ? (
        <p class="faint">Nobody.</p>
      ) : (
        <Table
          heads={["Caller", "Request", "Since", "Lease ends in"]}
          rows={held.leases.map(({ id, holder, since, until }) => ({
            id,
            cells: [...who(holder), <Ago key="since" time={since} />, <Until key="until" time={until} />],
          }))}
        />
      )}
      <h3>Who waits{firstOf(waiting.callers.length, waiting.count)}</h3>
      {waiting.callers.length === 0 ? (
        <p class="faint">Nobody.</p>
      ) : (
        <Table
          heads={["Caller", "Request", "Class", "Since"]}
          rows={waiting.callers.map(({ id, holder, priority, since }) => ({
            id,
            cells: [...who(holder), priority, <Ago key="since" time={since} />],
          }))}
        />
      )}
    </>
  );
}

/** A status lists the first hundred. */
const firstOf = (listed: number, count: number): string =>
  listed < count ? `: the first ${listed} of ${count}` : "";

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
