/** OPTIONS that asks how far it comes (RFC 9110 §7.6.2). */
import { beforeEach, describe, expect, test } from "vitest";
import { callForJson, callWorker } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { resetUpstream, upstream } from "../../support/scripted-upstream.ts";

/** The Max-Forwards of each request that the upstream has seen. */
let seen: (string | null)[] = [];

keepQuiet();
beforeEach(() => {
  seen = [];
  resetUpstream((request) => {
    seen.push(request.headers.get("Max-Forwards"));
    return new Response(null, { status: 204, headers: { Allow: "GET, OPTIONS" } });
  });
});

async function options(
  value: string | undefined,
  { method = "OPTIONS", name = "proxy-any", path = "/x" } = {},
) {
  const headers: HeadersInit = value === undefined ? {} : { "Max-Forwards": value };
  const { response, settled } = await callWorker(`/fetch/${name}${path}`, { method, headers });
  await response.text();
  await settled();
  return response;
}

describe("OPTIONS with Max-Forwards", () => {
  test.each(["0", "00", " 0 "])(
    "%j is answered here, with what the upstream may be called with",
    async (value) => {
      const { status, headers } = await options(value);
      expect([status, headers.get("Allow")]).toEqual([204, "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE"]);
      expect(upstream.order).toEqual([]);
    },
  );

  test("0 is answered here also for an upstream that may not be called with OPTIONS", async () => {
    const { status, headers } = await options("0", { name: "proxy-read" });
    expect([status, headers.get("Allow")]).toEqual([204, "GET, HEAD"]);
    expect((await options("1", { name: "proxy-read" })).status).toBe(405);
    expect(upstream.order).toEqual([]);
  });

  test.each([
    ["1", "0"],
    ["10", "9"],
    ["9".repeat(40), String(Number.MAX_SAFE_INTEGER - 1)],
  ])("%s goes on, as %s", async (value, sent) => {
    const { status, headers } = await options(value);
    expect([status, headers.get("Allow"), seen]).toEqual([204, "GET, OPTIONS", [sent]]);
  });

  test("none has none", async () => {
    await options(undefined);
    expect(seen).toEqual([null]);
  });

  test.each(["", "-1", "1.5", "two", "0, 0", "0x1"])("%j is a 400", async (value) => {
    const { status, body } = await callForJson("/fetch/proxy-any/x", {
      method: "OPTIONS",
      headers: { "Max-Forwards": value },
    });
    expect([status, body.type, seen]).toEqual([400, "urn:sluice:problem:malformed", []]);
  });

  test("0 for a path that is not allowed, or an upstream that there is not", async () => {
    expect((await options("0", { path: "/a%2fb" })).status).toBe(400);
    expect((await options("0", { name: "nobody" })).status).toBe(404);
  });
});

test.each(["GET", "DELETE"])("%s may ignore it, and does", async (method) => {
  expect((await options("0", { method })).status).toBe(204);
  expect(seen).toEqual([null]);
});
