/** What all routes of tasks and schedules have in common. */
import { reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { defineTask, NonRetryableError, registerTaskTypes } from "../../../src/tasks/index.ts";
import { callForJson, callWorker } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { submitted } from "../../support/submissions.ts";

const MIB = 1024 * 1024;
/** As long as a name may be. */
const LONGEST = `answers_${"n".repeat(56)}`;
const input = z.unknown();
registerTaskTypes([
  defineTask({ name: LONGEST, input, run: async () => null }),
  defineTask({
    name: "answers_fails",
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

/** The routes that take JSON, what each takes with a type, and what it answers then. */
const TAKE_JSON: [path: string, more: object, status: number][] = [
  ["/tasks", { delay: 3600 }, 202],
  ["/tasks/retry", {}, 200],
  ["/schedules", CRON, 201],
];

keepQuiet();
beforeEach(() => reset());

describe.each(TAKE_JSON)("POST %s", (path, more, taken) => {
  const text = JSON.stringify({ type: LONGEST, ...more });

  test.each([
    ["8 MiB", 8 * MIB, taken],
    ["a byte more", 8 * MIB + 1, 413],
  ])("with %s, told beforehand or not", async (_name, bytes, status) => {
    const body = text + " ".repeat(bytes - text.length);
    const told = await post(path, body, { ...JSON_TYPE, "Content-Length": String(bytes) });
    const stream = new Response(body).body?.pipeThrough(new TransformStream());
    if (!stream) throw new Error("no stream");
    const untold = await post(path, stream);
    expect([told.status, untold.status]).toEqual([status, status]);
    if (status === 413) expect(untold.body).toMatchObject({ type: "urn:sluice:problem:too-large" });
  });

  test.each([
    ["that is JSON", text, JSON_TYPE, taken],
    ["that says to be JSON, and is none", "{", JSON_TYPE, 400],
    ["that does not say to be JSON", text, { "Content-Type": "text/plain" }, 415],
  ])("with a body %s", async (_name, body, headers, status) => {
    expect((await post(path, body, headers)).status).toBe(status);
  });

  test.each([
    ["of 64 characters, that there is", LONGEST, taken],
    ["of 64 characters, that there is not", "x".repeat(64), 422],
    ["of 65 characters", "x".repeat(65), 422],
    ["of a MiB", "x".repeat(MIB), 422],
  ])("with the name of a type %s", async (_name, type, status) => {
    const answer = await post(path, JSON.stringify({ type, ...more }));
    expect(answer.status).toBe(status);
    if (status !== 422) return;
    expect(answer.body.errors).toMatchObject([{ at: "json/type" }]);
    const shown = JSON.stringify(answer.body);
    expect(shown.length).toBeLessThan(1_000);
    expect(shown.includes("x".repeat(64))).toBe(type.length === 64);
    expect(shown).not.toContain("x".repeat(65));
  });
});

test.each([
  [LONGEST, 200],
  ["x".repeat(65), 422],
])("GET /tasks?type=%s is a %i", async (type, status) => {
  const answer = await callForJson(`/tasks?type=${type}`);
  expect(answer.status).toBe(status);
  expect(JSON.stringify(answer.body)).not.toContain("x".repeat(65));
});

describe("what shows how things are is kept by no cache", () => {
  const ended = () => submitted({ type: "answers_fails" });
  const waiting = () => submitted({ type: LONGEST, delay: 3600 });
  const scheduled = async () => {
    const { body } = await post("/schedules", JSON.stringify({ ...CRON, type: LONGEST }));
    return String(body.id);
  };
  const send = (body: object) => ({ method: "POST", headers: JSON_TYPE, body: JSON.stringify(body) });

  test.each<[route: string, status: number, make?: (() => Promise<string>) | null, init?: object]>([
    ["POST /tasks", 202, null, send({ type: LONGEST, delay: 3600 })],
    ["POST /tasks", 202, null, send([{ type: LONGEST, delay: 3600 }])],
    ["GET /tasks", 200],
    ["GET /tasks/{id}", 200, ended],
    ["GET /tasks/{id}", 404, async () => "nonsense"],
    ["GET /tasks/{id}/events", 200, ended],
    ["GET /tasks/{id}/events", 204, ended, { headers: { "Last-Event-ID": "2" } }],
    ["GET /tasks/{id}/events", 404, async () => "nonsense"],
    ["POST /tasks/{id}/cancel", 200, waiting],
    ["POST /tasks/{id}/cancel", 409, ended],
    ["POST /tasks/{id}/retry", 202, ended],
    ["POST /tasks/retry", 200, null, send({ type: LONGEST })],
    ["POST /schedules", 201, null, send({ ...CRON, type: LONGEST })],
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
