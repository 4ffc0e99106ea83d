/** What is stored, and no longer true: RFC 9111 §4.4. */
import { reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { type CallOptions, callWorker } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { resetUpstream, upstream } from "../../support/scripted-upstream.ts";

/** The cache outlives a test, so each has a path of its own. */
let path = "";
let paths = 0;

keepQuiet();
beforeEach(async () => {
  await reset();
  path = `/invalidation/${paths++}?q=1`;
});

/** Calls, reads the response, and waits until it is in the cache, if it is stored. */
async function callFor(name: string, options?: CallOptions) {
  const headers = new Headers(options?.headers);
  headers.set("Sec-Fetch-Site", "same-origin");
  const { response, settled } = await callWorker(`/fetch/${name}${path}`, { ...options, headers });
  const body = await response.text().catch(() => "broken off");
  await settled();
  return { status: response.status, body, cache: response.headers.get("Cache-Status") };
}

describe("an unsafe request that succeeds", () => {
  const change = (method: string, status: number, headers: Record<string, string> = {}) =>
    resetUpstream((request) =>
      request.method === "GET"
        ? new Response(`response ${upstream.order.length}`, { headers: { "Cache-Control": "max-age=60" } })
        : new Response(null, { status, headers }),
    );
  const cacheOf = async (of: string, headers: Record<string, string> = {}, name = "cache-own") => {
    path = of;
    return (await callFor(name, { headers })).cache;
  };

  test.each([
    ["PUT", 204],
    ["PUT", 200],
    ["POST", 201],
    ["PATCH", 200],
    ["DELETE", 204],
    ["DELETE", 202],
  ])("%s with %d makes what is stored for its URL unreachable, in every variant", async (method, status) => {
    change(method, status);
    const own = path;
    const variants = [{}, { Accept: "text/a" }, { "Accept-Language": "de" }, { "Accept-Encoding": "gzip" }];
    for (const headers of variants) await cacheOf(own, headers);
    for (const headers of variants) expect(await cacheOf(own, headers)).toBe("sluice; hit");
    await cacheOf(`${own}&other`);
    path = own;
    await callFor("cache-own", { method });
    for (const headers of variants) expect(await cacheOf(own, headers)).toBe("sluice; fwd=uri-miss; stored");
    for (const headers of variants) expect(await cacheOf(own, headers)).toBe("sluice; hit");
    expect(await cacheOf(`${own}&other`)).toBe("sluice; hit");
  });

  test.each([
    ["Location", "/items/5", "/items/5"],
    ["Location", "http://upstream.internal/items/6#x", "/items/6"],
    ["Content-Location", "other", "/7/other"],
  ])("also those that its %s names (%s)", async (name, reference, named) => {
    change("POST", 201, { [name]: reference });
    await cacheOf(named);
    expect(await cacheOf(named)).toBe("sluice; hit");
    path = "/7/items";
    await callFor("cache-own", { method: "POST" });
    expect(await cacheOf(named)).toBe("sluice; fwd=uri-miss; stored");
  });

  test.each([400, 404, 409, 412, 500])("but not if it fails with %d", async (status) => {
    change("PUT", status);
    const own = path;
    await cacheOf(own);
    await callFor("cache-own", { method: "PUT" });
    expect(await cacheOf(own)).toBe("sluice; hit");
  });

  test.each(["HEAD", "OPTIONS"])("%s changes nothing", async (method) => {
    change(method, 200);
    resetUpstream(() => new Response("x", { headers: { "Cache-Control": "max-age=60" } }));
    const own = path;
    await cacheOf(own);
    await callFor("cache-own", { method });
    expect(await cacheOf(own)).toBe("sluice; hit");
  });

  test("keeps a response out of the cache that was under way meanwhile", async () => {
    const own = path;
    const gate = Promise.withResolvers<void>();
    resetUpstream(async (request) => {
      if (request.method !== "GET") return new Response(null, { status: 204 });
      const order = upstream.order.length;
      if (order === 1) await gate.promise;
      return new Response(`response ${order}`, { headers: { "Cache-Control": "max-age=60" } });
    });
    // Two permits: the GET holds one while the PUT goes by.
    const slow = callFor("cache-wide");
    await expect.poll(() => upstream.order).toHaveLength(1);
    await callFor("cache-wide", { method: "PUT" });
    gate.resolve();
    expect((await slow).body).toBe("response 1");
    path = own;
    expect(await callFor("cache-wide")).toMatchObject({ body: "response 3" });
  });

  test.each([
    ["/a/~b", "/a/%7Eb"],
    ["/a/b", "/%61/b"],
    ["/a/%c3%a9", "/a/%C3%A9"],
    ["/a/b", "/a/b/"],
    ["/a/b/", "/a/b"],
    ["/a", "/a?"],
    ["/a?x=~", "/a?x=%7e"],
  ])("%s is unreachable after a request to %s, which is the same", async (stored, written) => {
    change("PUT", 204);
    const [one, other] = [stored, written].map((each) => path.replace("?q=1", each));
    if (one === undefined || other === undefined) return expect.unreachable();
    await cacheOf(one);
    expect(await cacheOf(one)).toBe("sluice; hit");
    path = other;
    await callFor("cache-own", { method: "PUT" });
    expect(await cacheOf(one)).toBe("sluice; fwd=uri-miss; stored");
  });

  test("holds for every upstream with the same target, whatever its name and methods", async () => {
    change("PUT", 204);
    const own = path;
    for (const name of ["cache-own", "cache-default"]) await cacheOf(own, {}, name);
    await callFor("cache-wide", { method: "PUT" });
    for (const name of ["cache-own", "cache-default"])
      expect(await cacheOf(own, {}, name)).toBe("sluice; fwd=uri-miss; stored");
  });

  test.each<[string, number, () => Response]>([
    ["fails", 500, () => new Response("x", { status: 500 })],
    [
      "is not allowed",
      502,
      () => new Response(null, { status: 302, headers: { Location: "https://other.example/" } }),
    ],
  ])("holds if it is a redirect whose target %s", async (_name, status, redirected) => {
    change("POST", 303, { Location: "/invalidation/target" });
    const own = path;
    await cacheOf(own);
    const { respond } = upstream;
    resetUpstream((request) => (request.url.endsWith("/target") ? redirected() : respond(request)));
    const after = await callFor("cache-own", { method: "POST" });
    expect(after.status).toBe(status);
    change("POST", 200);
    expect(await cacheOf(own)).toBe("sluice; fwd=uri-miss; stored");
  });

  test.each([307, 308])("holds for both ends of a redirect with %i", async (status) => {
    change("PUT", 204);
    const [own, target] = [path, path.replace("?", "/target?")];
    for (const each of [own, target]) await cacheOf(each);
    resetUpstream(({ url }) =>
      url.includes("/target")
        ? new Response(null, { status: 204 })
        : new Response(null, { status, headers: { Location: target } }),
    );
    path = own;
    await callFor("cache-own", { method: "PUT" });
    change("PUT", 204);
    for (const each of [own, target]) expect(await cacheOf(each)).toBe("sluice; fwd=uri-miss; stored");
  });

  test.each(["https://other.example", "http://upstream.internal:81", "https://upstream.internal"])(
    "changes nothing that is named on another origin: %s",
    async (origin) => {
      const named = path.replace("?", "/5?");
      change("POST", 201, { Location: `${origin}${named}`, "Content-Location": `${origin}${named}` });
      await cacheOf(named);
      path = "/invalidation/items";
      await callFor("cache-own", { method: "POST" });
      expect(await cacheOf(named)).toBe("sluice; hit");
    },
  );
});
