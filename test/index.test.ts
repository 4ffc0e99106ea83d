/** The whole Worker: what it exports, and its API as Hono's client sees it. */
import { hc } from "hono/client";
import { expect, expectTypeOf, test } from "vitest";
import type { Api } from "../src/index.ts";
import { type CallOptions, callWorker } from "./support/call.ts";
import worker from "./support/worker.ts";

test("the Worker exports what the runtime calls", () => {
  expect(Object.keys(worker)).toEqual(expect.arrayContaining(["fetch", "scheduled"]));
});

test("Hono's client knows the routes, and the types of what they take and give", async () => {
  const left: (() => Promise<unknown>)[] = [];
  const client = hc<Api>("http://localhost", {
    fetch: async (input: RequestInfo | URL, init?: RequestInit) => {
      const { pathname } = new URL(input instanceof Request ? input.url : input);
      const { response, settled } = await callWorker(pathname, init as CallOptions);
      left.push(settled);
      return response;
    },
  });
  expectTypeOf(client).toHaveProperty("hello");
  expectTypeOf(client).not.toHaveProperty("no-such-route");

  const response = await client["run-tasks"].$post();
  if (!response.ok) throw new Error((await response.json()).detail);
  const scheduled = await response.json();
  expectTypeOf(scheduled).toEqualTypeOf<{
    message: "Tasks scheduled";
    tasks: { id: string; url: string }[];
  }>();
  expect(scheduled.tasks).toHaveLength(2);

  const submitted = await client.tasks.$post({ json: { type: "task_a" } });
  if (submitted.status !== 202) throw new Error(`It is a ${submitted.status}.`);
  const link = await submitted.json();
  if (!("id" in link)) throw new Error("It is a batch.");
  const read = await client.tasks[":id"].$get({ param: { id: link.id } });
  if (read.status !== 200) throw new Error(`It is a ${read.status}.`);
  const task = await read.json();
  expectTypeOf(task.attempt).toEqualTypeOf<number>();
  expect(task).toMatchObject({ id: link.id, type: "task_a" });
  expectTypeOf(client.files[":id"].links.$post).toBeFunction();
  expectTypeOf(client.upstreams[":name"].$patch).toBeFunction();
  for (const settle of left) await settle();
});
