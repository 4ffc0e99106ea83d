import { env } from "cloudflare:test";
import { expect, test } from "vitest";
import { readCallbackTargets } from "../../src/jobs/callback-targets.ts";
import { ConfigurationError } from "../../src/kernel/variables.ts";

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
