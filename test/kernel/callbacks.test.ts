import { env } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { callbackUrlError, readCallbackKeys, readCallbackOrigins } from "../../src/kernel/callbacks.ts";
import { ConfigurationError } from "../../src/kernel/variables.ts";
import { captureLogs } from "../support/call.ts";

const ORIGIN = "https://app.example.com";
const keyOf = (bytes: number) => `whsec_${Buffer.alloc(bytes, 7).toString("base64")}`;
const using = (variables: object): Env => ({ ...env, ...variables });

describe("CALLBACK_ORIGINS", () => {
  test.each([
    [undefined, []],
    [{}, []],
    [{ [ORIGIN]: "app" }, [[ORIGIN, "app"]]],
    [`{"${ORIGIN}:8443": "app"}`, [[`${ORIGIN}:8443`, "app"]]],
    [{ "http://localhost:3000": "app" }, [["http://localhost:3000", "app"]]],
  ])("%j is %j", (CALLBACK_ORIGINS, origins) => {
    expect([...readCallbackOrigins(using({ CALLBACK_ORIGINS }))]).toEqual(origins);
  });

  test.each([
    [[ORIGIN], "the upstream that leads there"],
    ["{", "not valid JSON"],
    [{ [ORIGIN]: 1 }, ORIGIN],
    ...[
      "app.example.com",
      `${ORIGIN}/`,
      `${ORIGIN}/hooks`,
      `${ORIGIN}:443`,
      "https://App.example.com",
      "https://me@app.example.com",
      "https://*.example.com",
      "ftp://app.example.com",
      "*",
      "null",
      "",
    ].map((origin): [unknown, string] => [
      { [ORIGIN]: "app", [origin]: "app" },
      `CALLBACK_ORIGINS.${origin}: an origin`,
    ]),
  ])("%j stops the Worker with a message that names it", (CALLBACK_ORIGINS, message) => {
    const read = () => readCallbackOrigins(using({ CALLBACK_ORIGINS }));
    expect(read).toThrow(ConfigurationError);
    expect(read).toThrow("CALLBACK_ORIGINS");
    expect(read).toThrow(message);
  });
});

describe("CALLBACK_KEYS", () => {
  test.each([
    [undefined, []],
    ["", []],
    [" ", []],
    [keyOf(24), [keyOf(24)]],
    [` ${keyOf(25)}\n${keyOf(64)} `, [keyOf(25), keyOf(64)]],
  ])("%j is %j", (CALLBACK_KEYS, keys) => {
    expect(readCallbackKeys(using({ CALLBACK_KEYS }))).toEqual(keys);
  });

  test.each([
    ["too short", keyOf(23)],
    ["too long", keyOf(65)],
    ["without whsec_", keyOf(32).slice(6)],
    ["with nothing after it", "whsec_"],
    ["without its padding", keyOf(32).replace("=", "")],
    ["with characters that are not base64's", keyOf(30).replace("BwcH", "Bw-H")],
    ["after a valid one", `${keyOf(32)} ${keyOf(32)}BwcH`],
    ["with a comma between them", `${keyOf(32)},${keyOf(32)}`],
  ])(
    "one %s closes callbacks, and neither the problem nor the log shows it",
    async (_name, CALLBACK_KEYS) => {
      const { lines } = await captureLogs(async () => {
        const secrets = using({ CALLBACK_KEYS, CALLBACK_ORIGINS: { [ORIGIN]: "app" } });
        for (const read of [() => readCallbackKeys(secrets), () => callbackUrlError(secrets, ORIGIN)])
          expect(read).toThrow("The secret CALLBACK_KEYS is missing or wrong here");
      });
      for (const { why } of lines) expect(why).toMatch(/CALLBACK_KEYS\.\d: each key(?!.*Bw)/s);
    },
  );
});

describe("a callback's URL", () => {
  const variables = { CALLBACK_KEYS: keyOf(32), CALLBACK_ORIGINS: { [ORIGIN]: "app" } };
  const errorFor = (url: string, changed: object = {}) =>
    callbackUrlError(using({ ...variables, ...changed }), url);

  test.each([ORIGIN, `${ORIGIN}/`, `${ORIGIN}:443/hooks?a=b`, "HTTPS://APP.example.com/x"])(
    "%s is allowed",
    (url) => {
      expect(errorFor(url)).toBeUndefined();
    },
  );

  test.each([
    ["/hooks", "absolute"],
    ["", "absolute"],
    ["https://", "absolute"],
    ["https://evil.example/", `only to ${ORIGIN}`],
    ["http://app.example.com/", `only to ${ORIGIN}`],
    [`${ORIGIN}.evil.example/`, `only to ${ORIGIN}`],
    ["https://app.example.com@evil.example/", "no user"],
    ["https://me:pw@app.example.com/", "no user"],
    [`${ORIGIN}/#part`, "no fragment"],
    ["javascript:alert(1)", `only to ${ORIGIN}`],
    ["data:,x", `only to ${ORIGIN}`],
  ])("%s is not allowed", (url, why) => {
    expect(errorFor(url)).toContain(why);
  });

  test("is not allowed where there are no origins, or no key", () => {
    expect(errorFor(ORIGIN, { CALLBACK_ORIGINS: {} })).toContain("CALLBACK_ORIGINS");
    expect(errorFor(ORIGIN, { CALLBACK_KEYS: "" })).toContain("CALLBACK_KEYS");
  });
});
