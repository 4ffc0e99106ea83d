/** The built Worker as when it is deployed: with variables that must be right, tokens, and an upstream over HTTP. */
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { startOnWorkerd } from "../support/node/built-worker.ts";

test.each<[string, Record<string, unknown>]>([
  ["ACCESS", { ACCESS: "ajar" }],
  ["UPSTREAMS", { UPSTREAMS: { todos: { origin: "api.example.com" } } }],
  ["DATA_UPSTREAM", { DATA_UPSTREAM: "nobody" }],
])("with an invalid %s it does not start, and says why", async (name, variables) => {
  await expect(startOnWorkerd(variables)).rejects.toThrow(new RegExp(`The variable ${name} `));
});

test("with tokens, and an upstream over HTTP", async () => {
  const token = "e2e-token-0123456789-0123456789-0123456789";
  const seen: IncomingMessage[] = [];
  const upstream = createServer((request, response) => {
    seen.push(request);
    response.setHeader("Content-Type", "application/json").end('{"from":"upstream"}');
  });
  await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
  const { port } = upstream.address() as AddressInfo;
  const { url } = await startOnWorkerd({
    ACCESS: "tokens",
    SLUICE_TOKENS: JSON.stringify([{ name: "e2e", scopes: ["read"], token }]),
    UPSTREAMS: { todos: { origin: `http://127.0.0.1:${port}` } },
  });
  expect((await fetch(`${url}/data`)).status).toBe(401);
  const response = await fetch(`${url}/data`, {
    headers: { Authorization: `Bearer ${token}`, Cookie: "a=b" },
  });
  expect([response.status, await response.json()]).toEqual([200, { from: "upstream" }]);
  expect(seen.map(({ url: target, headers }) => [target, headers.authorization, headers.cookie])).toEqual([
    ["/todos/1", undefined, undefined],
  ]);
  upstream.close();
  upstream.closeAllConnections();
  const down = await fetch(`${url}/data`, { headers: { Authorization: `Bearer ${token}` } });
  expect([down.status, await down.json()]).toMatchObject([503, { detail: "External API request failed" }]);
});
