import { createExecutionContext, env } from "cloudflare:test";
import { HTTPException } from "hono/http-exception";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { createApp, createRouter } from "../../src/kernel/app.ts";
import { invalid, Problem, type ProblemKind } from "../../src/kernel/problem.ts";
import { keepQuiet } from "../support/quiet.ts";

keepQuiet();

/** The response of a route that throws this. */
async function responseTo(thrown: Error) {
  const router = createRouter();
  router.get("/x", () => {
    throw thrown;
  });
  const app = createApp({ open: [router], closed: [] });
  const request = new Request("http://localhost/x", { headers: { "X-Request-Id": "r-1" } });
  const response = await app.fetch(request, env, createExecutionContext());
  return { status: response.status, headers: response.headers, body: await response.json() };
}

test.each<[ProblemKind, number]>([
  ["malformed", 400],
  ["client-gone", 400],
  ["digest-mismatch", 400],
  ["not-found", 404],
  ["conflict", 409],
  ["precondition-failed", 412],
  ["unsupported-version", 412],
  ["too-large", 413],
  ["unsupported-media", 415],
  ["range-not-satisfiable", 416],
  ["invalid", 422],
  ["idempotency-key-reused", 422],
  ["too-many-requests", 429],
  ["headers-too-large", 431],
  ["checksum-mismatch", 460],
  ["internal", 500],
  ["no-link-key", 503],
  ["task-not-started", 503],
  ["ledger-unavailable", 503],
])("%s is a %i, with a type of this service", async (kind, status) => {
  const { body, headers, ...response } = await responseTo(new Problem(kind, "Why."));
  expect([response.status, body]).toEqual([
    status,
    {
      type: `urn:sluice:problem:${kind}`,
      title: expect.any(String),
      status,
      detail: "Why.",
      requestId: "r-1",
    },
  ]);
  expect([headers.get("Content-Type"), headers.get("Cache-Control"), headers.get("X-Request-Id")]).toEqual([
    "application/problem+json",
    "no-store",
    "r-1",
  ]);
});

test.each<[ProblemKind, number, string]>([
  ["mismatching-upload-offset", 409, "offset from request does not match offset of resource"],
  ["completed-upload", 400, "upload is already completed"],
  ["inconsistent-upload-length", 400, "inconsistent length values for upload"],
])("%s has its registered type", async (kind, status, title) => {
  const { body } = await responseTo(new Problem(kind, "Why."));
  expect(body).toMatchObject({
    type: `https://iana.org/assignments/http-problem-types#${kind}`,
    title,
    status,
  });
});

test("a problem carries its further members, places and headers, and no member replaces a standard one", async () => {
  const options = {
    headers: { "Retry-After": "5" },
    errors: [{ at: "query/x", detail: "no" }],
    members: { "expected-offset": 100, status: 1 },
  };
  const { body, headers } = await responseTo(new Problem("mismatching-upload-offset", "Why.", options));
  expect(body).toMatchObject({
    "expected-offset": 100,
    status: 409,
    errors: [{ at: "query/x", detail: "no" }],
  });
  expect(headers.get("Retry-After")).toBe("5");
});

test.each([
  [new HTTPException(400, { message: "no JSON" }), 400, "urn:sluice:problem:malformed"],
  [new HTTPException(415), 415, "urn:sluice:problem:unsupported-media"],
  [new HTTPException(418), 500, "urn:sluice:problem:internal"],
  [new Error("secret"), 500, "urn:sluice:problem:internal"],
])("%s, thrown elsewhere, is a %i", async (thrown, status, type) => {
  const { body } = await responseTo(thrown);
  expect(body).toMatchObject({ status, type });
  expect(JSON.stringify(body)).not.toContain("secret");
});

describe("when no alternative of a union matches, the errors are those of the closest one:", () => {
  const one = z.strictObject({ name: z.string(), more: z.object({ n: z.int() }).optional() });
  const either = z.union([one, z.array(one).min(1)]);
  const nested = z.object({ within: z.union([z.object({ is: z.union([z.number(), one]) }), z.null()]) });

  test.each<[string, z.ZodType, unknown, string[]]>([
    ["an object", either, { name: 1 }, ["json/name"]],
    ["deep in an object", either, { name: "a", more: { n: "1" } }, ["json/more/n"]],
    ["several faults of it", either, { name: 1, more: 1 }, ["json/name", "json/more"]],
    ["an unknown member", either, { name: "a", other: 1 }, ["json/"]],
    ["an array", either, [{ name: "a" }, { name: 1 }], ["json/1/name"]],
    ["an item that is not an object", either, [1], ["json/0"]],
    ["an empty array", either, [], ["json/"]],
    ["close to none of them", either, "text", ["json/"]],
    ["a union in a union", nested, { within: { is: { name: 1 } } }, ["json/within/is/name"]],
    ["close to neither of the inner ones", nested, { within: { is: "text" } }, ["json/within/is"]],
    ["close to neither of the outer ones", nested, { within: 1 }, ["json/within"]],
    ["no union", one, { name: 1 }, ["json/name"]],
  ])("%s", (_name, schema, value, places) => {
    const { error } = schema.safeParse(value);
    if (!error) throw new Error("it was accepted");
    const problem = invalid("json", error);
    expect(problem.kind).toBe("invalid");
    expect(problem.options.errors?.map(({ at }) => at)).toEqual(places);
    for (const { detail } of problem.options.errors ?? []) expect(detail).not.toBe("");
  });
});
