/** What all routes of tasks and schedules have in common. */
import { reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { defineTask, NonRetryableError, registerTaskTypes } from "../../../src/tasks/index.ts";
import { callForJson, callWorker } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { submitted } from "../../support/submissions.ts";

const MIB = 1024 * 1024;
/** A name of the maximum length. */
const LONG_NAME = `responses_${"n".repeat(54)}`;
const input = z.unknown();
registerTaskTypes([
  defineTask({ name: LONG_NAME, input, run: async () => null }),
  defineTask({
    name: "responses_fails",
    input,
    run: async () => {
      throw new NonRetryableError("no");
    },
  }),
]);

const JSON_TYPE = { "Content-Type": "application/json" };
const CRON = { cron: "0 9 * * *" };
const post = (path: string, body: BodyInit, headers: Record<string, string> = JSON_TYPE) =>
  callForJson(path, { method: "POST", body, headers });

/** The routes that take JSON, the members that each needs besides `type`, and the status of a success. */
const TAKE_JSON: [path: string, more: object, status: number][] = [
  ["/tasks", { delay: 3600 }, 202],
  ["/tasks/retry", {}, 200],
  ["/schedules", CRON, 201],
];

keepQuiet();
beforeEach(() => reset());

describe.each(TAKE_JSON)("POST %s", (path, more, success) => {
  const text = JSON.stringify({ type: LONG_NAME, ...more });

  test.each([
    ["8 MiB", 8 * MIB, success],
    ["one byte more", 8 * MIB + 1, 413],
  ])("with %s, with or without a Content-Length", async (_name, bytes, status) => {
    const body = text + " ".repeat(bytes - text.length);
    const known = await post(path, body, { ...JSON_TYPE, "Content-Length": String(bytes) });
    const stream = new Response(body).body?.pipeThrough(new TransformStream());
    if (!stream) throw new Error("no stream");
    const unknown = await post(path, stream);
    expect([known.status, unknown.status]).toEqual([status, status]);
    if (status === 413) expect(unknown.body).toMatchObject({ type: "urn:sluice:problem:too-large" });
  });

  test.each([
    ["that is JSON", text, JSON_TYPE, success],
    ["that is declared as JSON but is not valid", "{", JSON_TYPE, 400],
    ["that is not declared as JSON", text, { "Content-Type": "text/plain" }, 415],
  ])("with a body %s", async (_name, body, headers, status) => {
    expect((await post(path, body, headers)).status).toBe(status);
  });

  test.each([
    ["of 64 characters that exists", LONG_NAME, success],
    ["of 64 characters that does not exist", "x".repeat(64), 422],
    ["of 65 characters", "x".repeat(65), 422],
    ["of a MiB", "x".repeat(MIB), 422],
  ])("with a type name %s", async (_name, type, status) => {
    const reply = await post(path, JSON.stringify({ type, ...more }));
    expect(reply.status).toBe(status);
    if (status !== 422) return;
    expect(reply.body.errors).toMatchObject([{ at: "json/type" }]);
    const shown = JSON.stringify(reply.body);
    expect(shown.length).toBeLessThan(1_000);
    expect(shown.includes("x".repeat(64))).toBe(type.length === 64);
    expect(shown).not.toContain("x".repeat(65));
  });
});

test.each([
  [LONG_NAME, 200],
  ["x".repeat(65), 422],
])("GET /tasks?type=%s is a %i", async (type, status) => {
  const reply = await callForJson(`/tasks?type=${type}`);
  expect(reply.status).toBe(status);
  expect(JSON.stringify(reply.body)).not.toContain("x".repeat(65));
});

describe("responses that show a current state are not cacheable", () => {
  const ended = () => submitted({ type: "responses_fails" });
  const waiting = () => submitted({ type: LONG_NAME, delay: 3600 });
  const scheduled = async () => {
    const { body } = await post("/schedules", JSON.stringify({ ...CRON, type: LONG_NAME }));
    return String(body.id);
  };
  const send = (body: object) => ({ method: "POST", headers: JSON_TYPE, body: JSON.stringify(body) });

  test.each<[route: string, status: number, make?: (() => Promise<string>) | null, init?: object]>([
    ["POST /tasks", 202, null, send({ type: LONG_NAME, delay: 3600 })],
    ["POST /tasks", 202, null, send([{ type: LONG_NAME, delay: 3600 }])],
    ["GET /tasks", 200],
    ["GET /tasks/{id}", 200, ended],
    ["GET /tasks/{id}", 404, async () => "nonsense"],
    ["GET /tasks/{id}/events", 200, ended],
    ["GET /tasks/{id}/events", 204, ended, { headers: { "Last-Event-ID": "2" } }],
    ["GET /tasks/{id}/events", 404, async () => "nonsense"],
    ["POST /tasks/{id}/cancel", 200, waiting],
    ["POST /tasks/{id}/cancel", 409, ended],
    ["POST /tasks/{id}/retry", 202, ended],
    ["POST /tasks/retry", 200, null, send({ type: LONG_NAME })],
    ["POST /schedules", 201, null, send({ ...CRON, type: LONG_NAME })],
    ["GET /schedules", 200],
    ["GET /schedules/{id}", 200, scheduled],
    ["GET /schedules/{id}", 404, async () => "nonsense"],
  ])("%s: %i", async (route, status, make, init = {}) => {
    const [method = "", path = ""] = route.split(" ");
    const id = (await make?.()) ?? "";
    const { response, settled } = await callWorker(path.replace("{id}", id), { method, ...init });
    expect([response.status, response.headers.get("Cache-Control")]).toEqual([status, "no-store"]);
    await response.text();
    await settled();
  });
});
