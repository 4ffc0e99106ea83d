/** `send_webhook`, from its submission to what the receiver sees. What it shares with callbacks is tested with those. */
import { env, reset } from "cloudflare:test";
import { Webhook } from "standardwebhooks";
import { beforeEach, describe, expect, test } from "vitest";
import { webhooksUnavailable } from "../../../src/jobs/notify/delivery.ts";
import { send } from "../../../src/jobs/notify/send-webhook.ts";
import { NonRetryableError } from "../../../src/tasks/index.ts";
import { follow, rejection } from "../../support/followed.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { resetUpstream } from "../../support/scripted-upstream.ts";
import { TestTask } from "../../support/task-context.ts";
import { TEST_VARIABLES } from "../../support/variables.ts";

const HOOK = "https://app.example.com/hooks/orders";
const [KEY = ""] = TEST_VARIABLES.CALLBACK_KEYS.split(" ");

let received: { headers: Record<string, string>; body: string }[] = [];

/** The receiver responds with these statuses, and then repeats the last one. */
function respondWith(...statuses: number[]): void {
  resetUpstream(async (request) => {
    received.push({ headers: Object.fromEntries(request.headers), body: await request.text() });
    return new Response(null, { status: statuses[received.length - 1] ?? statuses.at(-1) ?? 204 });
  });
}

keepQuiet();
beforeEach(async () => {
  await reset();
  received = [];
  respondWith(204);
});

test("an event is POSTed to the URL, signed, with a type, a time and its data", async () => {
  const beganAtMs = Date.now();
  const { task, id, events } = await follow("send_webhook", {
    url: HOOK,
    type: "order.paid",
    data: { order: 12, note: "röntgen 🩻" },
  });
  expect(task).toMatchObject({ status: "succeeded", result: { id: `msg_${id}`, status: 204 } });
  expect(events.at(-1)).toMatchObject({ data: { status: "succeeded" } });
  const [{ headers, body } = { headers: {}, body: "" }] = received;
  expect(received).toHaveLength(1);
  expect(headers["webhook-id"]).toBe(`msg_${id}`);
  const message = new Webhook(KEY).verify(body, headers) as { timestamp: string };
  expect(message).toEqual({
    type: "order.paid",
    timestamp: expect.any(String),
    data: { order: 12, note: "röntgen 🩻" },
  });
  expect(Date.parse(message.timestamp)).toBeGreaterThanOrEqual(beganAtMs);
});

describe("a try", () => {
  let task = new TestTask("s0-hook");
  const tryOnce = async () => task.run(async (ctx) => send(env, ctx, { url: HOOK, type: "a", data: null }));

  beforeEach(() => {
    task = new TestTask("s0-hook");
  });

  test("that fails is followed by one with the same id and the same message", async () => {
    respondWith(500, 200);
    await expect(tryOnce()).rejects.toThrow("500");
    await scheduler.wait(5);
    expect(await tryOnce()).toEqual({ id: "msg_s0-hook", status: 200 });
    const [first, second] = received;
    expect(second?.headers["webhook-id"]).toBe(first?.headers["webhook-id"]);
    expect(second?.body).toBe(first?.body);
    expect(JSON.parse(String(second?.body))).toMatchObject({ data: null });
  });

  test("is the last one if the receiver is gone", async () => {
    respondWith(410);
    const error: unknown = await tryOnce().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(NonRetryableError);
    expect(String(error)).toContain("410 Gone to the webhook msg_s0-hook");
  });
});

test("without a key, or without a receiver, there are no webhooks, and it says why", () => {
  const because = (variables: object) => webhooksUnavailable({ ...env, ...variables });
  expect(because({})).toBeUndefined();
  expect(because({ CALLBACK_KEYS: "" })).toContain("CALLBACK_KEYS is not set");
  expect(because({ CALLBACK_KEYS: "whsec_x" })).toContain("CALLBACK_KEYS");
  expect(because({ CALLBACK_ORIGINS: {} })).toContain("CALLBACK_ORIGINS");
});

describe("a submission is rejected", () => {
  test.each<[string, object, Record<string, unknown>]>([
    ["without url and type", {}, { url: expect.any(String), type: expect.any(String) }],
    [
      "for another origin",
      { url: "https://evil.example/", type: "a" },
      { url: expect.stringContaining("https://app.example.com") },
    ],
    [
      "for a path that is not allowed",
      { url: "https://app.example.com/x", type: "a" },
      { url: expect.stringContaining("/hooks/") },
    ],
    ["for a URL that is none", { url: "hooks", type: "a" }, { url: expect.stringContaining("absolute") }],
    ["for a type with a space", { url: HOOK, type: "a b" }, { type: expect.stringContaining("letters") }],
    [
      "for a member that there is not",
      { url: HOOK, type: "a", to: 1 },
      { "json/input": expect.stringContaining("to") },
    ],
  ])("%s", async (_name, input, errors) => {
    expect(await rejection("send_webhook", input)).toEqual(errors);
    expect(received).toEqual([]);
  });
});
