/** Regions: a task goes to a shard near its caller, and is found there for ever. */
import { env } from "cloudflare:test";
import { expect, test } from "vitest";
import { z } from "zod";
import { registeredObjects } from "../../../src/kernel/object-registry.ts";
import { defineTask, registerTaskTypes } from "../../../src/tasks/index.ts";
import { shardOfName } from "../../../src/tasks/ledger/task-id.ts";
import { callForJson, callWorker } from "../../support/call.ts";

const body = { input: z.unknown(), run: async () => null };
registerTaskTypes([
  defineTask({ ...body, name: "regions_free" }),
  defineTask({ ...body, name: "regions_capped", concurrency: 1 }),
]);

const BERLIN = { latitude: "52.5", longitude: "13.4" };
const submit = async (type: string, cf: object, variables: object) => {
  const { body: link } = await callForJson("/tasks", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ type, delay: 3_600 }),
    cf: cf as IncomingRequestCfProperties,
    variables: variables as Record<string, unknown>,
  });
  return String(link.id);
};

test.each([
  [["weur", "enam"], BERLIN, /^weur[0-3]-/],
  [["enam", "sam"], BERLIN, /^enam[0-3]-/],
  [["weur"], {}, /^s[0-3]-/],
  [[], BERLIN, /^s[0-3]-/],
])("with TASK_REGIONS = %j a task from %o goes to %s", async (TASK_REGIONS, cf, id) => {
  expect(await submit("regions_free", cf, { TASK_REGIONS })).toMatch(id);
});

test("a type with a concurrency has its one shard all the same", async () => {
  const id = await submit("regions_capped", BERLIN, { TASK_REGIONS: ["weur"] });
  expect(id.split("-")[0]).toBe(shardOfName("regions_capped"));
});

test("a task of a region that has been taken out is found, listed and cancelled", async () => {
  const id = await submit("regions_free", { latitude: "35", longitude: "139" }, { TASK_REGIONS: ["apac"] });
  expect(id).toMatch(/^apac/);
  await expect.poll(() => registeredObjects(env)).toContain(`TASK_LEDGER/${id.split("-")[0]}`);
  expect((await callForJson(`/tasks/${id}`)).body).toMatchObject({ id, status: "scheduled" });
  const { body: page } = await callForJson("/tasks?type=regions_free&limit=100");
  expect((page.tasks as { id: string }[]).map((task) => task.id)).toContain(id);
  const { response } = await callWorker(`/tasks/${id}/cancel`, { method: "POST" });
  expect(response.status).toBe(200);
});

test("the jobs that a route starts go to the same region", async () => {
  const { body: started } = await callForJson("/run-tasks", {
    cf: BERLIN as IncomingRequestCfProperties,
    variables: { TASK_REGIONS: ["weur"] },
  });
  for (const { id } of started.tasks as { id: string }[]) expect(id).toMatch(/^weur/);
});
