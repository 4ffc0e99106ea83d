/** The upstreams in the configuration, and the changes of an operator. */
import { env } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { ConfigurationError } from "../../src/kernel/variables.ts";
import { checkUpstreamSecret } from "../../src/outbound/header-secrets.ts";
import { changeSchema, settingsOf, toOverride } from "../../src/outbound/settings.ts";
import { readDataSource } from "../../src/outbound/upstreams.ts";
import { callForJson, captureLogs } from "../support/call.ts";
import { parseUpstream, parseUpstreams } from "../support/upstreams.ts";

const ORIGIN = "https://api.example.com";

test("the defaults are as documented", () => {
  expect(parseUpstream({ origin: ORIGIN })).toEqual({
    name: "api",
    target: { origin: ORIGIN },
    concurrency: 5,
    shards: 1,
    rate: undefined,
    limitKey: undefined,
    perKey: undefined,
    weights: [],
    adaptive: false,
    timeoutMs: 5000,
    maxWaiters: 1000,
    maxWaitMs: 30_000,
    maxPasses: undefined, // 8 for each permit
    maxPassMs: 1_000,
    methods: ["GET", "HEAD"],
    isChangedHere: false,
    pathPrefixes: ["/"],
    headers: {},
    requestHeaders: [],
    responseHeaders: [],
    encodedSlashes: false,
    websocket: false,
    redirectOrigins: [],
    cacheSeconds: undefined,
    retries: 2,
    maxResponseBytes: 104_857_600,
    trace: true,
    locationHint: undefined,
  });
});

test("every setting is read", () => {
  const configured = {
    service: "BILLING",
    concurrency: 1001,
    shards: 2,
    rate: { per_second: 0.5, burst: 3 },
    limit_key: "{header:X-Customer}/{path:2}",
    per_key: { concurrency: 2, rate: { per_second: 1 } },
    weights: { "/v1/": 2, "/v1/large/": 500 },
    adaptive: true,
    timeout_ms: 1,
    max_waiters: 0,
    max_wait_ms: 0,
    max_passes: 0,
    max_pass_ms: 0,
    methods: ["POST"],
    path_prefixes: ["/v1/", "/v2/x/"],
    headers: { "X-Version": "1" },
    request_headers: ["X-Api-Key"],
    response_headers: ["X-Custom"],
    encoded_slashes: true,
    websocket: true,
    redirect_origins: ["https://files.example.com"],
    cache_seconds: 0,
    retries: 0,
    max_response_bytes: 1,
    trace: false,
    location_hint: "weur",
  };
  expect(parseUpstream(configured)).toEqual({
    name: "api",
    target: { service: "BILLING" },
    concurrency: 1001,
    shards: 2,
    rate: { perSecond: 0.5, burst: 3 },
    limitKey: [{ header: "x-customer" }, { text: "/" }, { segment: 2 }],
    perKey: { concurrency: 2, rate: { perSecond: 1, burst: 1 } },
    weights: [
      ["/v1/large/", 500],
      ["/v1/", 2],
    ],
    adaptive: true,
    timeoutMs: 1,
    maxWaiters: 0,
    maxWaitMs: 0,
    maxPasses: 0,
    maxPassMs: 0,
    methods: ["POST"],
    isChangedHere: true,
    pathPrefixes: ["/v1/", "/v2/x/"],
    headers: { "X-Version": "1" },
    requestHeaders: ["x-api-key"],
    responseHeaders: ["x-custom"],
    encodedSlashes: true,
    websocket: true,
    redirectOrigins: ["https://files.example.com"],
    cacheSeconds: 0,
    retries: 0,
    maxResponseBytes: 1,
    trace: false,
    locationHint: "weur",
  });
});

describe("accepted:", () => {
  test.each<[string, object]>([
    ["an origin", { origin: ORIGIN }],
    ["an origin with a port", { origin: `${ORIGIN}:8443` }],
    ["an origin that is an address", { origin: "https://[2001:db8::1]" }],
    ["http on localhost", { origin: "http://localhost:3000" }],
    ["http on 127.0.0.1", { origin: "http://127.0.0.1" }],
    ["http on ::1", { origin: "http://[::1]:80".replace(":80", "") }],
    ["a service", { service: "API" }],
    ["an entrypoint", { entrypoint: "DemoUpstream" }],
    ["a rate with no burst", { origin: ORIGIN, rate: { per_second: 10 } }],
    ["a call a day", { origin: ORIGIN, rate: { per_second: 1 / 86_400 } }],
    ["the lowest rate", { origin: ORIGIN, rate: { per_second: 0.000_01, burst: 100_000 } }],
    [
      "every method",
      { origin: ORIGIN, methods: ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"] },
    ],
    [
      "headers of one's own",
      {
        origin: ORIGIN,
        request_headers: [
          "X-Api-Key",
          "X-Client-Version",
          "x-goog-user-project",
          "Host-Id",
          "Idempotency-Key",
        ],
        response_headers: ["X-Page", "RateLimit-Policy", "X-Amz-Request-Id"],
      },
    ],
    ["a shard for each permit", { origin: ORIGIN, concurrency: 64, shards: 64 }],
    ["1000 permits for each shard", { origin: ORIGIN, concurrency: 64_000, shards: 64 }],
    ["a call of the burst for each shard", { origin: ORIGIN, shards: 4, rate: { per_second: 1, burst: 4 } }],
    ["the root as a prefix", { origin: ORIGIN, path_prefixes: ["/"] }],
  ])("%s", (_name, configuration) => {
    expect(parseUpstream(configuration)).toMatchObject({ name: "api" });
  });
});

describe("refused, with a message that names the setting:", () => {
  test.each<[string, object, string]>([
    ["no target", {}, "UPSTREAMS.api: needs exactly one"],
    ["two targets", { origin: ORIGIN, service: "API" }, "UPSTREAMS.api: needs exactly one"],
    [
      "three targets",
      { origin: ORIGIN, service: "API", entrypoint: "DemoUpstream" },
      "UPSTREAMS.api: needs exactly one",
    ],
    ["a setting that does not exist", { origin: ORIGIN, timeout: 5 }, "timeout"],
    ["an origin with a slash", { origin: `${ORIGIN}/` }, "UPSTREAMS.api.origin"],
    ["an origin with a path", { origin: `${ORIGIN}/v1` }, "UPSTREAMS.api.origin"],
    ["an origin with a query", { origin: `${ORIGIN}?x` }, "UPSTREAMS.api.origin"],
    ["an origin with userinfo", { origin: "https://user:pw@api.example.com" }, "UPSTREAMS.api.origin"],
    ["an origin with its default port", { origin: `${ORIGIN}:443` }, "UPSTREAMS.api.origin"],
    ["an origin in capitals", { origin: "https://API.example.com" }, "UPSTREAMS.api.origin"],
    ["an abbreviated address", { origin: "http://127.1" }, "UPSTREAMS.api.origin"],
    ["http on the internet", { origin: "http://api.example.com" }, "UPSTREAMS.api.origin"],
    [
      "http on a host that only looks local",
      { origin: "http://127.0.0.1.evil.example" },
      "UPSTREAMS.api.origin",
    ],
    ["http on a name that ends in localhost", { origin: "http://evil-localhost" }, "UPSTREAMS.api.origin"],
    ["another scheme", { origin: "ftp://api.example.com" }, "UPSTREAMS.api.origin"],
    ["a host without a scheme", { origin: "api.example.com" }, "UPSTREAMS.api.origin"],
    ["an entrypoint that is not an upstream", { entrypoint: "Semaphore" }, "UPSTREAMS.api.entrypoint"],
    ["a concurrency of 0", { origin: ORIGIN, concurrency: 0 }, "UPSTREAMS.api.concurrency"],
    ["a fractional concurrency", { origin: ORIGIN, concurrency: 1.5 }, "UPSTREAMS.api.concurrency"],
    ["a concurrency above 1000", { origin: ORIGIN, concurrency: 1001 }, "UPSTREAMS.api.concurrency"],
    [
      "a concurrency above 1000 for each shard",
      { origin: ORIGIN, concurrency: 2001, shards: 2 },
      "shards = 3 or",
    ],
    ["no shards", { origin: ORIGIN, shards: 0 }, "UPSTREAMS.api.shards"],
    ["a part of a shard", { origin: ORIGIN, shards: 1.5 }, "UPSTREAMS.api.shards"],
    ["65 shards", { origin: ORIGIN, concurrency: 100, shards: 65 }, "UPSTREAMS.api.shards"],
    [
      "more shards than permits",
      { origin: ORIGIN, concurrency: 5, shards: 6 },
      "UPSTREAMS.api.shards: must be at most concurrency, which is 5",
    ],
    [
      "more shards than calls in a burst",
      { origin: ORIGIN, concurrency: 5, shards: 4, rate: { per_second: 10, burst: 3 } },
      "UPSTREAMS.api.rate: must have a burst of at least 4",
    ],
    [
      "more shards than the one call of a burst that is not set",
      { origin: ORIGIN, concurrency: 5, shards: 2, rate: { per_second: 10 } },
      "UPSTREAMS.api.rate: must have a burst of at least 2",
    ],
    ["a concurrency in quotes", { origin: ORIGIN, concurrency: "5" }, "UPSTREAMS.api.concurrency"],
    ["a rate of 0", { origin: ORIGIN, rate: { per_second: 0 } }, "UPSTREAMS.api.rate.per_second"],
    ["a rate as a number", { origin: ORIGIN, rate: 5 }, "UPSTREAMS.api.rate"],
    ["a rate that is next to nothing", { origin: ORIGIN, rate: { per_second: 1e-13 } }, "rate.per_second"],
    ["a burst of 0", { origin: ORIGIN, rate: { per_second: 1, burst: 0 } }, "UPSTREAMS.api.rate.burst"],
    ["a timeout of 0", { origin: ORIGIN, timeout_ms: 0 }, "UPSTREAMS.api.timeout_ms"],
    ["a negative wait limit", { origin: ORIGIN, max_wait_ms: -1 }, "UPSTREAMS.api.max_wait_ms"],
    ["a negative number of passes", { origin: ORIGIN, max_passes: -1 }, "UPSTREAMS.api.max_passes"],
    ["a part of a ms", { origin: ORIGIN, max_pass_ms: 0.5 }, "UPSTREAMS.api.max_pass_ms"],
    ["no methods", { origin: ORIGIN, methods: [] }, "UPSTREAMS.api.methods"],
    ["a method that is not supported", { origin: ORIGIN, methods: ["CONNECT"] }, "UPSTREAMS.api.methods.0"],
    ["a method in lower case", { origin: ORIGIN, methods: ["get"] }, "UPSTREAMS.api.methods.0"],
    ["no prefixes", { origin: ORIGIN, path_prefixes: [] }, "UPSTREAMS.api.path_prefixes"],
    [
      "a prefix that does not begin with /",
      { origin: ORIGIN, path_prefixes: ["v1/"] },
      "UPSTREAMS.api.path_prefixes.0",
    ],
    [
      "a prefix that does not end with /",
      { origin: ORIGIN, path_prefixes: ["/v1"] },
      "UPSTREAMS.api.path_prefixes.0",
    ],
    ["an encoded prefix", { origin: ORIGIN, path_prefixes: ["/a%20b/"] }, "UPSTREAMS.api.path_prefixes.0"],
    ["a header name with a colon", { origin: ORIGIN, headers: { "X:": "" } }, "UPSTREAMS.api.headers"],
    ["a header that is not a string", { origin: ORIGIN, headers: { "X-N": 1 } }, "UPSTREAMS.api.headers.X-N"],
    [
      "a header with a line break",
      { origin: ORIGIN, headers: { "X-N": "a\r\nb: c" } },
      "UPSTREAMS.api.headers.X-N",
    ],
    [
      "a redirect origin with a path",
      { origin: ORIGIN, redirect_origins: [`${ORIGIN}/x`] },
      "redirect_origins.0",
    ],
    ["a negative cache time", { origin: ORIGIN, cache_seconds: -1 }, "UPSTREAMS.api.cache_seconds"],
    ...[
      "Authorization",
      "cookie",
      "Host",
      "Via",
      "X-Forwarded-For",
      "X-HTTP-Method-Override",
      "X-Original-URL",
    ]
      .concat(["X-Cluster-Client-IP", "CF-Ray", "Sec-Fetch-Site", "Content-Length", "TE", "a b", ""])
      .map((name): [string, object, string] => [
        `the request header "${name}"`,
        { origin: ORIGIN, request_headers: ["X-Custom", name] },
        "UPSTREAMS.api.request_headers.1",
      ]),
    ...[
      "Set-Cookie",
      "Content-Security-Policy",
      "Access-Control-Allow-Origin",
      "CDN-Cache-Control",
      "X-Sendfile",
    ]
      .concat(["Speculation-Rules", "Permissions-Policy", "Server-Timing", "Refresh", "Trailer"])
      .map((name): [string, object, string] => [
        `the response header "${name}"`,
        { origin: ORIGIN, response_headers: [name] },
        "UPSTREAMS.api.response_headers.0",
      ]),
    [
      "encoded_slashes in quotes",
      { origin: ORIGIN, encoded_slashes: "true" },
      "UPSTREAMS.api.encoded_slashes",
    ],
    ["too many retries", { origin: ORIGIN, retries: 6 }, "UPSTREAMS.api.retries"],
    ["a maximum of 0 bytes", { origin: ORIGIN, max_response_bytes: 0 }, "UPSTREAMS.api.max_response_bytes"],
    ["a place that does not exist", { origin: ORIGIN, location_hint: "moon" }, "UPSTREAMS.api.location_hint"],
  ])("%s", (_name, configuration, message) => {
    expect(() => parseUpstream(configuration)).toThrow(ConfigurationError);
    expect(() => parseUpstream(configuration)).toThrow(message);
  });

  test.each(["API", "1st", "", "a.b", "a/b", "-a", "a".repeat(64)])('the name "%s"', (name) => {
    expect(() => parseUpstreams({ [name]: { origin: ORIGIN } })).toThrow(ConfigurationError);
  });

  test.each(["a", "a1", "my_api-2", "a".repeat(63)])('but not the name "%s"', (name) => {
    expect(parseUpstreams({ [name]: { origin: ORIGIN } }).get(name)?.name).toBe(name);
  });
});

test("UPSTREAMS may be JSON text, as a secret is", () => {
  expect([...parseUpstreams(JSON.stringify({ a: { origin: ORIGIN }, b: { service: "B" } })).keys()]).toEqual([
    "a",
    "b",
  ]);
  expect(() => parseUpstreams("{broken")).toThrow("UPSTREAMS is not valid JSON");
});

describe("secrets in headers", () => {
  const headers = { Authorization: "Bearer ${KEY}", "X-Both": "${USER}:${KEY}", "X-None": "$KEY {KEY} 5$" };

  test("replace their names", () => {
    const parsed = parseUpstream({ origin: ORIGIN, headers }, { KEY: "k-$&-1", USER: "me" });
    expect(parsed.headers).toEqual({
      Authorization: "Bearer k-$&-1",
      "X-Both": "me:k-$&-1",
      "X-None": "$KEY {KEY} 5$",
    });
  });

  test.each<[string, object]>([
    ["missing", { USER: "me" }],
    ["empty", { USER: "me", KEY: "" }],
    ["not a string", { USER: "me", KEY: { a: 1 } }],
    ["a placeholder", { USER: "me", KEY: "change-me" }],
    ["of more lines", { USER: "me", KEY: "hunter2\r\nHost: evil" }],
    ["blank", { USER: "me", KEY: " \t" }],
  ])("that are %s close their upstream, and the log names header and secret", async (_name, variables) => {
    const parsed = parseUpstream({ origin: ORIGIN, headers }, variables);
    const { lines } = await captureLogs(async () =>
      expect(() => checkUpstreamSecret(parsed)).toThrow("The secret KEY is missing or wrong here"),
    );
    // Once in an isolate.
    for (const line of lines) expect(line).toMatchObject({ level: "error", secret: "KEY" });
    expect(parsed.badSecret?.why).toContain("UPSTREAMS.api.headers.");
    expect(parsed.badSecret?.why).toContain("names the secret KEY, which is");
    expect(JSON.stringify([parsed, lines])).not.toContain("hunter2");
  });
});

test("an upstream that lacks a secret is not called, and the others are", async () => {
  const upstream = { entrypoint: "DemoUpstream", cache_seconds: 0 };
  const UPSTREAMS = { scripted: upstream, demo: { ...upstream, headers: { "X-Key": "${NO_SUCH_SECRET}" } } };
  const { value } = await captureLogs(async () => [
    await callForJson("/fetch/demo/todos/1", { variables: { UPSTREAMS } }),
    await callForJson("/fetch/scripted/todos/1", { variables: { UPSTREAMS } }),
  ]);
  expect(value).toMatchObject([
    {
      status: 503,
      body: { type: "urn:sluice:problem:bad-secret", detail: expect.stringContaining("NO_SUCH_SECRET") },
    },
    { status: 200 },
  ]);
});

describe("the source of GET /data", () => {
  const read = (variables: object) => readDataSource({ ...env, ...variables });

  test("is an upstream and a path", () => {
    const { upstream, path } = read({ DATA_UPSTREAM: "demo", DATA_PATH: "/todos/1?x" });
    expect([upstream.name, path]).toEqual(["demo", "/todos/1?x"]);
  });

  test.each<[string, object]>([
    ["an upstream that does not exist", { DATA_UPSTREAM: "nobody" }],
    ["a path with no slash", { DATA_PATH: "todos" }],
    ["a path with two slashes", { DATA_PATH: "//evil.example" }],
    ["a path with a backslash", { DATA_PATH: "/\\evil.example" }],
  ])("is refused if it is %s", (_name, variables) => {
    expect(() => read(variables)).toThrow(ConfigurationError);
  });
});

describe("an operator's change", () => {
  const configured = parseUpstream({ origin: ORIGIN, concurrency: 5, rate: { per_second: 10, burst: 2 } });
  const ofConfigured = (change: unknown) => settingsOf(configured, toOverride(changeSchema.parse(change)), 0);

  test.each<[object, object]>([
    [{}, { concurrency: 5, rate: { perSecond: 10, burst: 2 }, isPaused: false }],
    [{ concurrency: 2 }, { concurrency: 2, rate: { perSecond: 10, burst: 2 }, isPaused: false }],
    [{ rate: { per_second: 1 } }, { concurrency: 5, rate: { perSecond: 1, burst: 1 }, isPaused: false }],
    [{ paused: true }, { concurrency: 5, rate: { perSecond: 10, burst: 2 }, isPaused: true }],
    [{ paused: false }, { isPaused: false }],
    [
      { concurrency: null, rate: null, paused: null },
      { concurrency: 5, rate: { perSecond: 10, burst: 2 }, isPaused: false },
    ],
  ])("%j takes effect", (change, settings) => {
    expect(ofConfigured(change)).toMatchObject(settings);
  });

  test("tells an absent member from one that is reset", () => {
    const nothing = toOverride(changeSchema.parse({}));
    expect([Object.keys(nothing), toOverride(changeSchema.parse({ rate: null }))]).toEqual([
      [],
      { rate: null },
    ]);
  });

  test.each<[unknown]>([
    [{ concurrency: 0 }],
    [{ concurrency: 64_001 }],
    [{ concurrency: "5" }],
    [{ concurrency: 2.5 }],
    [{ rate: 5 }],
    [{ rate: { per_second: -1 } }],
    [{ rate: { per_second: 1e-13 } }],
    [{ rate: { per_second: Number.MIN_VALUE } }],
    [{ rate: { per_second: 1, burst: 1e9 } }],
    [{ rate: { per_second: 5, burst: 1, every: 1 } }],
    [{ paused: "yes" }],
    [{ max_waiters: 5 }],
    [[]],
    [null],
  ])("%j is not valid", (change) => {
    expect(changeSchema.safeParse(change).success).toBe(false);
  });
});
