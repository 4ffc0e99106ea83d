/** The scope that each route of the tasks needs. */

import { reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { newTaskId } from "../../src/tasks/ledger/task-id.ts";
import { callWorker } from "../support/call.ts";
import { submit, taskRows } from "../support/submissions.ts";

beforeEach(() => reset());

describe("access:", () => {
  const tokenOf = (scope: string) => scope.padEnd(32, "-");
  const scopes = ["read", "write", "admin"];
  const variables = {
    SLUICE_TOKENS: scopes.map((scope) => ({ name: scope, scopes: [scope], token: tokenOf(scope) })),
  };

  test.each([
    ["GET", "/tasks", "read"],
    ["GET", "/tasks/{id}", "read"],
    ["GET", "/tasks/{id}/events", "read"],
    ["GET", "/task-types", "read"],
    ["POST", "/tasks", "write"],
    ["POST", "/tasks/{id}/cancel", "write"],
    ["POST", "/tasks/{id}/retry", "write"],
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
      expect([scope, response.status === 403]).toEqual([scope, scope !== needed]);
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
