import { createExecutionContext, env } from "cloudflare:test";
import { createRoute } from "@hono/zod-openapi";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { createApp, createRouter } from "../../src/kernel/app.ts";
import { isEmptyBody, MAX_JSON_BYTES } from "../../src/kernel/json-body.ts";
import { callForJson, callWorker } from "../support/call.ts";
import { fastestMs } from "../support/linear.ts";

const echo = createRoute({
  method: "post",
  path: "/echo",
  request: { body: { required: true, content: { "application/json": { schema: z.unknown() } } } },
  responses: { 200: { description: "The body, as its schema saw it." } },
});
const app = createApp({
  open: [createRouter().openapi(echo, (c) => c.json({ body: c.req.valid("json") }))],
  closed: [],
});

async function send(
  body: BodyInit,
  headers: Record<string, string> = { "Content-Type": "application/json" },
) {
  const request = new Request("http://localhost/echo", { method: "POST", headers, body });
  const response = await app.fetch(request, env, createExecutionContext());
  const text = await response.text();
  return {
    status: response.status,
    body: JSON.parse(text) as { detail?: string; type?: string; errors?: { at: string; detail: string }[] },
    text,
  };
}

describe("a body that is encoded", () => {
  const json = { "Content-Type": "application/json" };

  test.each(["gzip", "GZIP", "x-gzip", "br", "identity, gzip", "deflate;q=1", '"identity"'])(
    "by %s is a 415, whatever its bytes are",
    async (coding) => {
      const gzip = new Response('{"a":1}').body?.pipeThrough(new CompressionStream("gzip"));
      for (const body of ['{"a":1}', await new Response(gzip).arrayBuffer()]) {
        const response = await send(body, { ...json, "Content-Encoding": coding });
        expect(response).toMatchObject({
          status: 415,
          body: { detail: "Send the JSON without Content-Encoding (identity)." },
        });
      }
    },
  );

  test.each(["identity", "Identity", "", "identity, identity", ","])(
    "by nothing (%j) is taken",
    async (coding) => {
      expect((await send('{"a":1}', { ...json, "Content-Encoding": coding })).status).toBe(200);
    },
  );
});

describe("numbers that a double keeps are taken:", () => {
  test.each([
    "0",
    "-0",
    "1.5",
    "0.1",
    "0.30000000000000004",
    "0.10000000000000001",
    "3.14159265358979323846264338327950288",
    "9007199254740991",
    "-9007199254740991",
    "9007199254740992",
    "1e2",
    "1E+2",
    "1e-7",
    "1e16",
    "1e21",
    "1e300",
    "1.7976931348623157e308",
    "5e-324",
    "123456789012345.678901",
    "0.0",
    "0e400",
    "1e0000000000000000000002",
    '"9007199254740993"',
    '"1e400"',
    '"a\\"1e400, 9007199254740993"',
    '{"1e400": "\\\\"}',
    "[true, false, null, 1e5]",
    '{"a":true,"b":-1e5,"c":false}',
    '{"9007199254740993": [1, "\\\\\\"2e999"]}',
  ])("%s", async (text) => {
    const { status, text: echoed } = await send(text);
    expect([status, echoed]).toEqual([200, `{"body":${JSON.stringify(JSON.parse(text))}}`]);
  });
});

describe("a number that a double does not keep is a 422 that names its place:", () => {
  test.each([
    ["1e400", ["json"]],
    ["-1e400", ["json"]],
    ["1e-400", ["json"]],
    ["9007199254740993", ["json"]],
    ["-9007199254740993", ["json"]],
    ["9007199254740993e0", ["json"]],
    ["9007199254740993.0", ["json"]],
    ["900719925474099.3e1", ["json"]],
    ["12345678901234567890", ["json"]],
    ["100000000000000000000", ["json"]],
    ["9".repeat(400), ["json"]],
    [`${"9".repeat(400)}.5`, ["json"]],
    ['{"n": 1e400}', ["json/n"]],
    ['{"a": [1, {"b": 2, "n" : -1E+999}]}', ["json/a/1/n"]],
    ['{"a": {"x": 1}, "b": 9007199254740993}', ["json/b"]],
    ['{"a/b~c\\"": 1e400}', ['json/a~1b~0c"']],
    ['[[], {}, [[1e400]], 9007199254740995, "1e400"]', ["json/2/0/0", "json/3"]],
    ['{"a": "1e400", "b": ":", "c": 1e400}', ["json/c"]],
    ['{"a": ["x", 1e400], "b": {"y": "z", "c": 1e400}}', ["json/a/1", "json/b/c"]],
    [`[${Array(50).fill("1e400").join()}]`, Array.from({ length: 20 }, (_, i) => `json/${i}`)],
  ])("%s", async (text, places) => {
    const { status, body } = await send(text);
    expect([status, body.type, body.errors?.map(({ at }) => at)]).toEqual([
      422,
      "urn:sluice:problem:invalid",
      places,
    ]);
    expect(body.errors?.[0]?.detail).toContain("Send it as a string.");
  });
});

describe("for any number, however it is written and wherever it stands,", () => {
  const literal = fc.stringMatching(/^-?(0|[1-9]\d{0,24})(\.\d{1,24})?([eE][+-]?\d{1,3})?$/);

  /** The exact value as a fraction, of whatever JSON can write. */
  function exactly(text: string): { numerator: bigint; denominator: bigint } {
    const [mantissa = "", exponent = "0"] = text.toLowerCase().split("e");
    const [whole = "", fraction = ""] = mantissa.split(".");
    const power = Number(exponent) - fraction.length;
    const digits = BigInt(whole + fraction);
    return power >= 0
      ? { numerator: digits * 10n ** BigInt(power), denominator: 1n }
      : { numerator: digits, denominator: 10n ** BigInt(-power) };
  }

  function mustBeKept(text: string): boolean {
    const value = Number(text);
    if (!Number.isFinite(value)) return false;
    const [a, b] = [exactly(text), exactly(JSON.stringify(value))];
    const isSame = a.numerator * b.denominator === b.numerator * a.denominator;
    const isInteger = /^-?\d+$/.test(text);
    if (isInteger) return isSame && Math.abs(value) <= 2 ** 53;
    // A fraction is as precise as a double, but does not vanish.
    return isSame || (Math.abs(value) < 2 ** 53 && value !== 0);
  }

  test("it is taken exactly if it is kept", async () => {
    await fc.assert(
      fc.asyncProperty(literal, async (number) => {
        const places = [number, `[${number}]`, `{"a": [true, "1e999", {"b":${number}}], "c": null}`];
        const statuses = await Promise.all(places.map(async (text) => (await send(text)).status));
        expect([number, ...statuses]).toEqual([
          number,
          ...Array<number>(3).fill(mustBeKept(number) ? 200 : 422),
        ]);
      }),
      { numRuns: 200 },
    );
  });

  test("of what JSON.stringify writes, everything is taken but integers beyond 2^53", async () => {
    await fc.assert(
      fc.asyncProperty(fc.double({ noNaN: true, noDefaultInfinity: true }), async (number) => {
        const text = JSON.stringify(number);
        const isLong = /^-?\d+$/.test(text) && Math.abs(number) > 2 ** 53;
        expect([text, (await send(text)).status]).toEqual([text, isLong ? 422 : 200]);
      }),
      { numRuns: 200 },
    );
  });
});

describe("what is not JSON is a 400:", () => {
  test.each<[string, BodyInit]>([
    ["text", "{a}"],
    ["an unfinished number", "[1e"],
    ["a leading zero", "[01]"],
    ["NaN", "[NaN]"],
    ["nothing", ""],
    ["two values", "{} {}"],
    ["ISO-8859-1", new Uint8Array([0x22, 0xfc, 0x22])],
    ["UTF-16", new Uint8Array([0xff, 0xfe, 0x5b, 0, 0x5d, 0])],
  ])("%s", async (_name, text) => {
    const { status, body } = await send(text);
    expect([status, body.type]).toEqual([400, "urn:sluice:problem:malformed"]);
  });

  test("a byte order mark, spaces and a charset are no fault", async () => {
    const bytes = new Uint8Array([0xef, 0xbb, 0xbf, 0x20, 0x31, 0x0a]);
    const { status, text } = await send(bytes, { "Content-Type": "application/json; charset=utf-8" });
    expect([status, text]).toEqual([200, '{"body":1}']);
  });
});

describe("what is nested too deeply is a 422, not a bug:", () => {
  const arrays = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
  const objects = (depth: number) => '{"a":'.repeat(depth) + "1" + "}".repeat(depth);

  test.each([
    ["3,000 arrays", arrays(3_000), 200],
    ["3,001 arrays", arrays(3_001), 422],
    ["3,000 objects", objects(3_000), 200],
    ["3,001 objects", objects(3_001), 422],
    ["a million arrays", arrays(1_000_000), 422],
    ["brackets in a string", JSON.stringify("[{".repeat(100_000)), 200],
    ["many beside each other", `[${Array(100_000).fill("[]").join()}]`, 200],
  ])("%s", async (_name, text, status) => {
    expect((await send(text)).status).toBe(status);
  });
});

describe("the limit", () => {
  const full = `"${"x".repeat(MAX_JSON_BYTES - 2)}"`;
  const chunked = (text: string) =>
    new ReadableStream({
      start(controller) {
        const bytes = new TextEncoder().encode(text);
        for (let i = 0; i < bytes.length; i += 1_000_000)
          controller.enqueue(bytes.subarray(i, i + 1_000_000));
        controller.close();
      },
    });

  test.each<[string, BodyInit, number]>([
    ["just enough", full, 200],
    ["just enough, in chunks", chunked(full), 200],
    ["a byte more", `${full} `, 413],
    ["a byte more, in chunks", chunked(`${full} `), 413],
  ])("%s", async (_name, body, status) => {
    expect((await send(body)).status).toBe(status);
  });

  test.each(["5", "5, 5", "five"])("a byte more than code has announced with %j", async (length) => {
    const headers = { "Content-Type": "application/json", "Content-Length": length };
    for (const body of [`${full} `, chunked(`${full} `)])
      expect((await send(body, headers)).status).toBe(413);
  });
});

test("hostile text is read in linear time", async () => {
  const texts = [
    `"${"\\\\".repeat(500_000)}"`,
    `"${'\\"'.repeat(500_000)}"`,
    `["${"0".repeat(1_000_000)}1"]`,
    `0.${"0".repeat(1_000_000)}1`,
    `[${"1e5,".repeat(250_000)}1]`,
    `{"a"${" ".repeat(1_000_000)}:1e5}`,
    `[${'"a"  ,'.repeat(150_000)}1e5]`,
    `1${"0".repeat(1_000_000)}`,
    `[${"1e400,".repeat(250_000)}1]`,
  ];
  for (const text of texts) {
    const ms = await fastestMs(1_000, async () => send(text));
    expect([text.slice(0, 20), ms]).toEqual([text.slice(0, 20), expect.toSatisfy(() => ms < 1_000)]);
  }
});

describe("isEmptyBody", () => {
  const streamOf = (...chunks: string[]) =>
    new ReadableStream({
      type: "bytes",
      start(controller) {
        for (const chunk of chunks) controller.enqueue(new TextEncoder().encode(chunk));
        controller.close();
      },
    });

  test.each<[string, RequestInit, boolean]>([
    ["no body", {}, true],
    ["a text without characters", { body: "" }, true],
    ["Content-Length: 0", { body: "", headers: { "Content-Length": "0" } }, true],
    ["a stream without chunks", { body: streamOf() }, true],
    ["a text", { body: "a" }, false],
    ["a stream with chunks", { body: streamOf("a", "b") }, false],
  ])("%s", async (_name, init, isEmpty) => {
    const request = new Request("http://localhost/", { method: "POST", ...init });
    expect(await isEmptyBody(request)).toBe(isEmpty);
    // Nothing of it was used up.
    expect(await request.text()).toBe(isEmpty ? "" : init.body === "a" ? "a" : "ab");
  });
});

describe("on every route of the document,", () => {
  interface Operation {
    requestBody?: { content: Record<string, unknown> };
  }
  /** 60 MB, and how much of it was read. */
  function flood() {
    const chunk = new Uint8Array(1_000_000).fill(0x20);
    const sent = { chunks: 0 };
    const body = new ReadableStream({
      pull(controller) {
        if (sent.chunks === 60) return controller.close();
        sent.chunks++;
        controller.enqueue(chunk);
      },
    });
    return { body, sent };
  }

  async function operations() {
    const { body } = await callForJson("/openapi.json");
    return Object.entries(body.paths as Record<string, Record<string, Operation>>).flatMap(([path, item]) =>
      Object.entries(item).map(([method, { requestBody }]) => ({
        path: path.replaceAll(/[{}]/g, ""),
        method: method.toUpperCase(),
        types: Object.keys(requestBody?.content ?? {}),
      })),
    );
  }

  const json = { "Content-Type": "application/json" };

  test("a JSON body beyond the limit is a 413, and the rest of it is not read", async () => {
    const takeJson = (await operations()).filter(({ types }) => types.includes("application/json"));
    expect(takeJson.length).toBeGreaterThan(4);
    for (const { path, method } of takeJson) {
      const { body, sent } = flood();
      const streamed = await callForJson(path, { method, headers: json, body });
      expect([path, streamed.status, streamed.body.type]).toEqual([
        path,
        413,
        "urn:sluice:problem:too-large",
      ]);
      expect(sent.chunks).toBeLessThan(12);
      const headers = { ...json, "Content-Length": String(MAX_JSON_BYTES + 1) };
      const counted = flood();
      const announced = await callForJson(path, { method, headers, body: counted.body });
      expect([path, announced.status]).toEqual([path, 413]);
      expect(counted.sent.chunks).toBeLessThan(3);
    }
  });

  test("a body that the route does not take is not read", async () => {
    const takeNone = (await operations()).filter(
      ({ types, method, path }) =>
        types.length === 0 && method !== "GET" && method !== "HEAD" && !path.startsWith("/fetch/"),
    );
    expect(takeNone.length).toBeGreaterThan(4);
    for (const { path, method } of takeNone) {
      const { body, sent } = flood();
      const { response } = await callWorker(path, { method, headers: json, body });
      await response.text();
      expect([path, method, sent.chunks]).toEqual([path, method, expect.toSatisfy((chunks) => chunks < 3)]);
    }
  });

  test("a token without the scope is rejected before its body is read", async () => {
    const token = "token-of-the-tests-0123456789-0123456789";
    const variables = { ACCESS: "tokens", SLUICE_TOKENS: [{ name: "t", scopes: ["read"], token }] };
    for (const path of ["/tasks", "/schedules", "/files/x/links", "/tasks/retry"]) {
      const { body, sent } = flood();
      const headers = { ...json, Authorization: `Bearer ${token}` };
      const { status } = await callForJson(path, { method: "POST", headers, body, variables });
      expect([path, status]).toEqual([path, 403]);
      expect(sent.chunks).toBeLessThan(3);
    }
  });
});

test.each(["gzip", "X-GZIP", "br", "identity, deflate"])(
  "JSON in %s is a 415, whatever its bytes are",
  async (coding) => {
    const headers = { "Content-Type": "application/json", "Content-Encoding": coding };
    for (const body of ["{}", new Uint8Array([0x1f, 0x8b, 8])]) {
      const { status, body: problem } = await send(body, headers);
      expect([status, problem.detail]).toEqual([415, expect.stringContaining("without Content-Encoding")]);
    }
  },
);

test.each(["", "identity", "Identity, identity"])("JSON in the coding %j is as it is", async (coding) => {
  const headers = { "Content-Type": "application/json", "Content-Encoding": coding };
  expect(await send("[1]", headers)).toMatchObject({ status: 200, body: { body: [1] } });
});
