/** Submitting tasks through the API, and reading what became of them. */

import { env, runInDurableObject } from "cloudflare:test";
import { expect } from "vitest";
import type { TaskRow } from "../../src/tasks/ledger/schema.ts";
import { ledgerOn } from "../../src/tasks/ledger/shards.ts";
import { SHARDS } from "../../src/tasks/ledger/task-id.ts";
import { type CallOptions, callForJson, callWorker } from "./call.ts";

export interface Link {
  id: string;
  url: string;
}

const asPost = (body: unknown, { headers, ...options }: CallOptions) => ({
  method: "POST",
  body: typeof body === "string" ? body : JSON.stringify(body),
  headers: { "Content-Type": "application/json", ...(headers as Record<string, string>) },
  ...options,
});

/** `POST /tasks`; waits for everything that runs in the same invocation. `body`: a JSON value, or JSON text. */
export const submit = (body: unknown, options: CallOptions = {}) =>
  callForJson("/tasks", asPost(body, options));

/** The same, without waiting for what runs in the invocation. Returns the id. */
export async function begin(body: unknown, options: CallOptions = {}): Promise<string> {
  const { response } = await callWorker("/tasks", asPost(body, options));
  expect(response.status).toBe(202);
  return (await response.json<Link>()).id;
}

/** Submits a task, waits for everything that runs in the invocation, and returns the id. */
export async function submitted(body: unknown, options: CallOptions = {}): Promise<string> {
  const { status, body: link } = await submit(body, options);
  expect(status).toBe(202);
  return String(link.id);
}

/** Submits a batch, and returns the ids in its order. */
export async function submittedBatch(batch: object[]): Promise<string[]> {
  const { status, body } = await submit(batch);
  expect(status).toBe(202);
  return (body.tasks as Link[]).map(({ id }) => id);
}

export const taskOf = async (id: string) => (await callForJson(`/tasks/${id}`)).body;

/** The task, as soon as it has this status. */
export async function taskWhen(id: string, status: string) {
  await expect.poll(() => taskOf(id), { timeout: 10_000, interval: 20 }).toMatchObject({ status });
  return taskOf(id);
}

/** The stored tasks of all shards. */
export async function taskRows(): Promise<TaskRow[]> {
  const shards = await Promise.all(
    SHARDS.map(async (shard) =>
      runInDurableObject(ledgerOn(env, shard), (_, { storage }) =>
        storage.sql.exec<TaskRow>("SELECT * FROM task ORDER BY id").toArray(),
      ),
    ),
  );
  return shards.flat();
}

type LedgerCall = (...args: unknown[]) => Promise<unknown>;

/** The ledger with some methods replaced. Each replacement receives the original call. */
export function changedLedger(
  calls: Record<string, (shard: string, call: () => Promise<unknown>) => Promise<unknown>>,
) {
  const getByName = (shard: string) => {
    const stub = env.TASK_LEDGER.getByName(shard);
    return new Proxy(stub, {
      get: (_, key): unknown => {
        const name = String(key);
        // Not `bind` or `apply`: a stub would take these for methods of the object.
        const rpc = stub as unknown as Record<string, LedgerCall>;
        return async (...args: unknown[]) => {
          const call = async () => rpc[name]?.(...args);
          return calls[name] ? calls[name](shard, call) : call();
        };
      },
    });
  };
  return { TASK_LEDGER: { getByName } };
}

/** The ledger with a `method` that fails on the shards for which `isBroken` returns true. */
export const brokenLedger = (method: string, isBroken: (shard: string) => boolean = () => true) =>
  changedLedger({
    [method]: async (shard, call) => {
      if (isBroken(shard)) throw new Error("the shard cannot be reached");
      return call();
    },
  });
