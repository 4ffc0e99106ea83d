import { env } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { readCallbackTargets } from "../../src/jobs/callback-targets.ts";
import { ConfigurationError } from "../../src/kernel/variables.ts";
import { submit } from "../support/submissions.ts";

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

test("an invalid key stops the Worker, too", () => {
  expect(() => read({ origin: ORIGIN, ...POST }, { CALLBACK_KEYS: "secret" })).toThrow("CALLBACK_KEYS");
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
