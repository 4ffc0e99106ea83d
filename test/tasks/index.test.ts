/** The routes of the tasks as a whole: the scope that each needs, and their types for Hono's client. */

import { reset } from "cloudflare:test";
import { hc } from "hono/client";
import { beforeEach, describe, expect, expectTypeOf, test } from "vitest";
import type { scheduleRoutes, steeringRoutes, submitRoutes, taskRoutes } from "../../src/tasks/index.ts";
import { newTaskId } from "../../src/tasks/ledger/task-id.ts";
import { callWorker } from "../support/call.ts";
import { submit, taskRows } from "../support/submissions.ts";

beforeEach(() => reset());

describe("access:", () => {
  const tokenOf = (scope: string) => scope.padEnd(32, "-");
  const scopes = ["read", "write", "admin", "write+read"];
  const variables = {
    SLUICE_TOKENS: scopes.map((scope) => ({ name: scope, scopes: scope.split("+"), token: tokenOf(scope) })),
  };

  test.each([
    ["GET", "/tasks", "read"],
    ["GET", "/tasks/{id}", "read"],
    ["GET", "/tasks/{id}/events", "read"],
    ["GET", "/task-types", "read"],
    ["POST", "/tasks", "write"],
    ["POST", "/tasks/{id}/cancel", "write+read"],
    ["POST", "/tasks/{id}/retry", "write+read"],
    ["DELETE", "/tasks/{id}", "write"],
    ["POST", "/tasks/retry", "admin"],
  ])("%s %s needs %s", async (method, path, needed) => {
    const at = path.replace("{id}", newTaskId("s0"));
    for (const scope of scopes) {
      const headers = { Authorization: `Bearer ${tokenOf(scope)}` };
      const { response } = await callWorker(at, {
        method,
        headers,
        variables,
        site: "https://sluice.example.com",
      });
      const isEnough = needed.split("+").every((part) => scope.split("+").includes(part));
      expect([scope, response.status !== 403]).toEqual([scope, isEnough]);
    }
    const { response } = await callWorker(at, { method, variables, site: "https://sluice.example.com" });
    expect(response.status).toBe(401);
  });

  test("a request without the scope changes nothing", async () => {
    const headers = { Authorization: `Bearer ${tokenOf("read")}` };
    expect((await submit({ type: "task_a" }, { headers, variables })).status).toBe(403);
    expect(await taskRows()).toEqual([]);
  });
});

test("the types of the routes carry their paths, bodies and responses, for `hc`", () => {
  const site = "http://localhost";
  const submitting = hc<typeof submitRoutes>(site).tasks.$post;
  // Members with a default are optional.
  expectTypeOf(submitting).toBeCallableWith({ json: { type: "task_a" } });
  const { tasks } = hc<typeof taskRoutes>(site);
  expectTypeOf(tasks[":id"].$get).toBeCallableWith({ param: { id: "s0-a" } });
  expectTypeOf(tasks[":id"].$get).returns.resolves.toHaveProperty("json");
  expectTypeOf(hc<typeof steeringRoutes>(site).tasks[":id"].cancel.$post).toBeFunction();
  const create = hc<typeof scheduleRoutes>(site).schedules.$post;
  expectTypeOf(create).toBeCallableWith({ json: { cron: "* * * * *", type: "task_a" } });
});
