/** What bound tokens may reach: the pure rules, and which routes are open to them at all. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { type Bounds, isWithin, narrowPrefix } from "../../src/kernel/bounds.ts";
import { callForJson, callWorker } from "../support/call.ts";
import { keepQuiet } from "../support/quiet.ts";

keepQuiet();

const text = fc.string({ unit: fc.constantFrom("a", "b", "-"), maxLength: 3 });
const bounds = fc.record({ owner: fc.option(text), filePrefix: text, taskTypes: fc.constant([]) });

test("without bounds, everything is within them", () => {
  fc.assert(fc.property(text, fc.option(text), (id, owner) => isWithin(undefined, { id, owner })));
});

test("what is within is its owner's, and begins with the prefix", () => {
  fc.assert(
    fc.property(bounds, text, fc.option(text), (bound: Bounds, id, owner) => {
      const own = bound.owner === null || bound.owner === owner;
      expect(isWithin(bound, { id, owner })).toBe(own && id.startsWith(bound.filePrefix));
    }),
  );
});

test("what is nobody's is not within the bounds of anybody with `own`", () => {
  expect(isWithin({ owner: "ada", filePrefix: "", taskTypes: [] }, { id: "a", owner: null })).toBe(false);
  expect(isWithin({ owner: "ada", filePrefix: "", taskTypes: [] }, { id: "a" })).toBe(false);
});

test("an id has the narrowed prefix if and only if it has both", () => {
  fc.assert(
    fc.property(bounds, text, text, (bound: Bounds, prefix, id) => {
      const narrowed = narrowPrefix(bound, prefix);
      const hasBoth = id.startsWith(prefix) && id.startsWith(bound.filePrefix);
      expect(narrowed !== undefined && id.startsWith(narrowed)).toBe(hasBoth);
    }),
  );
});

/** What a token with the scopes `read`, `write` and `own` may do with each route. A new one needs a place here. */
const DECISIONS = {
  /** Call it; the route keeps to the bounds. */
  within: [
    "GET /files",
    "POST /files",
    "GET /files/{id}",
    "PUT /files/{id}",
    "DELETE /files/{id}",
    "POST /files/{id}/links",
    "POST /upload-file",
    "POST /uploads",
    "GET /uploads/{id}",
    "PATCH /uploads/{id}",
    "POST /uploads/{id}",
    "DELETE /uploads/{id}",
    "GET /events",
    "GET /task-types/{name}",
    "GET /task-types",
    "POST /tasks/{id}/retry",
    "POST /tasks/{id}/cancel",
    "DELETE /tasks/{id}",
    "GET /tasks/{id}",
    "POST /tasks",
    "GET /tasks",
  ],
  /** Call it: it shows the caller alone, or what is the same for all. */
  caller: [
    "GET /session",
    "DELETE /session",
    "DELETE /sessions",
    "GET /docs",
    "GET /openapi.json",
    "GET /hello",
  ],
  /** Nothing: it reaches beyond the bounds. */
  closed: [
    "GET /tasks/counts",
    "POST /tasks/retry",
    "POST /tasks/bulk",
    "GET /tasks/{id}/events",
    "POST /tasks/{id}/events/links",
    "POST /tasks/{id}/signals/{name}",
    "POST /tasks/{id}/signals/{name}/links",
    "GET /run-tasks",
    "POST /run-tasks",
    "PATCH /task-types/{name}",
    "POST /events/links",
    "GET /schedules",
    "POST /schedules",
    "GET /schedules/{id}",
    "PUT /schedules/{id}",
    "PATCH /schedules/{id}",
    "DELETE /schedules/{id}",
    "POST /schedules/{id}/run",
    "GET /schedules/{id}/runs",
    "POST /uploads/grants",
    "GET /uploads/grants/{id}",
    "DELETE /uploads/grants/{id}",
    "GET /metrics",
    "GET /audit",
    "GET /quotas",
    "GET /held-files",
    "POST /held-files/{fileId}/{version}",
    "DELETE /held-files/{fileId}/{version}",
    "GET /data",
    "GET /upstreams",
    "GET /upstreams/{name}",
    "PATCH /upstreams/{name}",
    "GET /upstreams/{name}/events",
    ...["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"].map(
      (method) => `${method} /fetch/{upstream}/{path}`,
    ),
  ],
  /** It is open to all; what a link or a grant allows is signed. */
  open: [
    "GET /",
    "GET /healthz",
    "GET /favicon.ico",
    "POST /session",
    "GET /files/{id}/links/{token}",
    "GET /events/links/{token}",
    "GET /tasks/{id}/events/links/{token}",
    "GET /tasks/{id}/signals/{name}/links/{token}",
    "POST /tasks/{id}/signals/{name}/links/{token}",
    "OPTIONS /uploads",
    "OPTIONS /uploads/{id}",
    "OPTIONS /uploads/grants/{id}",
    "POST /uploads/grants/{id}",
    "PUT /uploads/grants/{id}",
    ...["OPTIONS", "GET", "PUT", "PATCH", "POST", "DELETE"].map(
      (method) => `${method} /uploads/grants/{id}/{upload}`,
    ),
  ],
};

const TOKEN = "token-of-the-tests-0123456789-0123456789";
const options = {
  site: "https://sluice.example.com",
  variables: {
    ACCESS: "tokens",
    SLUICE_TOKENS: [{ name: "ada", scopes: ["read", "write", "own"], token: TOKEN }],
  },
  headers: { Authorization: `Bearer ${TOKEN}` },
};

async function operations(): Promise<Map<string, string[] | undefined>> {
  const { body } = await callForJson("/openapi.json");
  const paths = body.paths as Record<string, Record<string, { security?: { token: string[] }[] }>>;
  return new Map(
    Object.entries(paths).flatMap(([path, item]) =>
      Object.entries(item).map(([method, { security }]): [string, string[] | undefined] => [
        `${method.toUpperCase()} ${path}`,
        security?.[0]?.token,
      ]),
    ),
  );
}

async function isClosed(route: string) {
  const [method = "", path = ""] = route.split(" ");
  const filled = path.replaceAll(/\{[^}]+\}/g, "0190a2b4-0000-7000-8000-000000000000");
  const { response, settled } = await callWorker(filled, { ...options, method });
  const { status } = response;
  const problem = status === 403 ? await response.clone().text() : "";
  const isRefused =
    status === 403 && (method === "HEAD" || /is bound|needs a token with the scope/.test(problem));
  await response.body?.cancel();
  await settled();
  return isRefused;
}

test("each decision is about a route that exists", async () => {
  const known = await operations();
  expect(
    Object.values(DECISIONS)
      .flat()
      .filter((route) => !known.has(route)),
  ).toEqual([]);
});

/** Such as one of your own, which need not be listed here. */
test("a route without a decision is closed to a bound token", async () => {
  const decided = new Set(Object.values(DECISIONS).flat());
  for (const [route, scopes] of await operations())
    if (!decided.has(route) && scopes !== undefined)
      expect([route, await isClosed(route)]).toEqual([route, true]);
});

test.each(DECISIONS.closed)("%s is closed to a bound token", async (route) => {
  expect(await isClosed(route)).toBe(true);
});

test.each([...DECISIONS.within, ...DECISIONS.caller])("%s is open to a bound token", async (route) => {
  expect(await isClosed(route)).toBe(false);
});

test("what is open to all needs no token, and nothing else that has a decision", async () => {
  const known = await operations();
  const open = Object.values(DECISIONS)
    .flat()
    .filter((route) => known.get(route) === undefined);
  expect(open.toSorted()).toEqual(DECISIONS.open.toSorted());
});
