import { env } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { deliver } from "../../../src/jobs/notify/callback.ts";
import { readCallbackTargets } from "../../../src/jobs/notify/callback-targets.ts";
import { Problem } from "../../../src/kernel/problem.ts";
import { ConfigurationError } from "../../../src/kernel/variables.ts";
import { NonRetryableError } from "../../../src/tasks/index.ts";
import { captureLogs } from "../../support/call.ts";
import { submit } from "../../support/submissions.ts";
import { taskContext } from "../../support/task-context.ts";

const ORIGIN = "https://app.example.com";
const POST = { methods: ["POST"] };

const read = (app: object, variables: object = {}) =>
  readCallbackTargets({
    ...env,
    UPSTREAMS: { app, demo: { entrypoint: "DemoUpstream" } },
    CALLBACK_ORIGINS: { [ORIGIN]: "app" },
    ...variables,
  });

test.each([{ origin: ORIGIN }, { service: "APP" }, { entrypoint: "DemoUpstream" }])(
  "an upstream with %j may receive callbacks",
  (target) => {
    expect([...read({ ...target, ...POST })]).toMatchObject([[ORIGIN, { name: "app", methods: ["POST"] }]]);
  },
);

test("there is no target if no origin is named", () => {
  expect(read({ origin: ORIGIN }, { CALLBACK_ORIGINS: undefined }).size).toBe(0);
});

test.each<[string, object, object, string]>([
  ["is unknown", POST, { CALLBACK_ORIGINS: { [ORIGIN]: "nobody" } }, "add it there"],
  ["has another origin", { origin: `${ORIGIN}:8443`, ...POST }, {}, `with origin = "${ORIGIN}"`],
  ["does not allow POST", { origin: ORIGIN }, {}, 'add "POST" to UPSTREAMS.app.methods'],
])(
  "an upstream that %s stops the Worker, with a message that says what to do",
  (_name, app, variables, message) => {
    const configuration = Object.keys(app).includes("origin") ? app : { origin: ORIGIN, ...app };
    expect(() => read(configuration, variables)).toThrow(ConfigurationError);
    expect(() => read(configuration, variables)).toThrow("CALLBACK_ORIGINS");
    expect(() => read(configuration, variables)).toThrow(message);
  },
);

test("an invalid key closes callbacks only: nothing that asks for one is accepted, and one that is due is retried", async () => {
  const variables = { CALLBACK_KEYS: "secret", CALLBACK_ORIGINS: { [ORIGIN]: "callback-app" } };
  expect(read({ origin: ORIGIN, ...POST }, { CALLBACK_KEYS: "secret" }).size).toBe(1);
  await captureLogs(async () => {
    const { status, body } = await submit(
      { type: "task_a", callback_url: `${ORIGIN}/hooks/a` },
      { variables },
    );
    expect([status, body.type]).toEqual([503, "urn:sluice:problem:bad-secret"]);
    expect(body.detail).toContain("CALLBACK_KEYS");
    expect((await submit({ type: "task_a" }, { variables })).status).toBe(202);
    const message = { taskId: "s0-a", finishedAt: "then", url: `${ORIGIN}/hooks/a` };
    const error = await deliver(Object.assign({}, env, variables), taskContext(), message).catch(
      (e: unknown) => e,
    );
    expect([error instanceof Problem, error instanceof NonRetryableError]).toEqual([true, false]);
  });
});

describe("a callback URL that the outbound client would refuse is refused when the task is submitted:", () => {
  test.each<[string, boolean]>([
    ["https://app.example.com/hooks/a", true],
    ["https://app.example.com/hooks/a?b=%2F&c=//d", true],
    ["https://app.example.com/hooks/%C3%A4", true],
    ["https://app.example.com/hooks/ä b", true],
    ["https://app.example.com/hooks/x/../a", true],
    ["https://app.example.com/hooks/a%2Fb", false],
    ["https://app.example.com/hooks/a%252Fb", false],
    ["https://app.example.com/hooks/a%5Cb", false],
    ["https://app.example.com/hooks//a", false],
    ["https://app.example.com/hooks/../a", false],
    ["https://app.example.com/hooks/%2e%2e/a", false],
    ["https://app.example.com/hooks/..;/a", false],
    ["https://app.example.com/hooks/a%00", false],
    ["https://app.example.com/hooks/a%", false],
    ["https://app.example.com/hooks/%ff", false],
    ["https://app.example.com/other", false],
    ["https://app.example.com/", false],
    ["https://app.example.com/hooks/\ud83d", false],
  ])("%#", async (url, isAccepted) => {
    const one = { type: "task_a", delay: 600, callback_url: url };
    const { status, body } = await submit(one);
    expect(status).toBe(isAccepted ? 202 : 422);
    if (!isAccepted) expect(body.errors).toEqual([{ at: "json/callback_url", detail: expect.any(String) }]);
    expect((await submit([one])).status).toBe(status);
  });
});
