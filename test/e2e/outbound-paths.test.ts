/** Paths as they are on the wire, on plain workerd: nothing between the client and the Worker resolves them first. */
import { once } from "node:events";
import { createServer, request as httpRequest, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Server, startOnWorkerd } from "../support/node/built-worker.ts";

const seen: string[] = [];
const upstream = createServer((request, response) => {
  seen.push(request.url ?? "");
  response.end("ok");
});
let sluice: Server;

beforeAll(async () => {
  await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
  const { port } = upstream.address() as AddressInfo;
  const origin = `http://127.0.0.1:${port}`;
  sluice = await startOnWorkerd({
    UPSTREAMS: {
      plain: { origin },
      narrow: { origin, path_prefixes: ["/v1/"] },
      encoded: { origin, path_prefixes: ["/v1/"], encoded_slashes: true },
    },
  });
});
afterAll(async () => {
  upstream.close();
});

/** The status of a GET whose request target is exactly this, and its body. */
async function get(target: string): Promise<{ status: number; body: string }> {
  const { hostname, port } = new URL(sluice.url);
  const request = httpRequest({ hostname, port, path: target, agent: false });
  const [response] = (await once(request.end(), "response")) as [IncomingMessage];
  return { status: response.statusCode ?? 0, body: await text(response) };
}

describe("refused, and not sent:", () => {
  test.each([
    ["/fetch/plain/a/../b", 400],
    ["/fetch/plain/../plain/b", 400],
    ["/fetch/plain/./b", 400],
    ["/fetch/plain/..", 400],
    ["/fetch/plain/%2e%2e/b", 400],
    ["/fetch/plain/a/%2E./b", 400],
    ["/fetch/plain//b", 400],
    ["/fetch/plain/a%2Fb", 400],
    ["/fetch/plain/a\\b", 400],
    ["/fetch/narrow/v1/../admin", 400],
    ["/fetch/narrow/admin", 403],
    ["/fetch/narrow/../plain/admin", 400],
    ["/fetch/encoded/v1/a%2F..%2F..%2Fadmin", 400],
    ["/fetch/encoded/%2Fv1/a", 403],
    ["/fetch/encoded//v1/a", 403],
  ])("%s is a %d", async (target, status) => {
    const before = seen.length;
    expect((await get(target)).status).toBe(status);
    expect(seen.slice(before)).toEqual([]);
  });
});

describe("sent as it is:", () => {
  test.each([
    ["/fetch/plain/a/b?c=/../d", "/a/b?c=/../d"],
    ["/fetch/plain/a/", "/a/"],
    ["/fetch/plain", "/"],
    ["/fetch/plain?x=1", "/?x=1"],
    ["/fetch/narrow/v1/a..b", "/v1/a..b"],
    ["/fetch/encoded/v1/a%2Fb//c%2f", "/v1/a%2Fb//c%2f"],
    ["/fetch/encoded/v1/https://example.com/x", "/v1/https://example.com/x"],
  ])("%s", async (target, expected) => {
    const before = seen.length;
    expect(await get(target)).toEqual({ status: 200, body: "ok" });
    expect(seen.slice(before)).toEqual([expected]);
  });
});
