/** Spans, as a receiver of OTLP gets them: one trace from the request through the ledger and the run to the upstream. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { fetchUpstream } from "../../src/outbound/index.ts";
import type { TaskContext } from "../../src/tasks/index.ts";
import { newType, whenEnded } from "../support/background.ts";
import { callForJson, captureLogs } from "../support/call.ts";
import { platform } from "../support/platform/platform.ts";
import { keepQuiet } from "../support/quiet.ts";
import { resetUpstream } from "../support/scripted-upstream.ts";

keepQuiet();

const RECEIVER = "https://otel.example.com";
const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER = "00f067aa0ba902b7";
const traceparent = `00-${TRACE}-${CALLER}-01`;

/** ExportTraceServiceRequest in protobuf's JSON mapping, as far as Sluice uses it, and nothing besides. */
const hex = (digits: number) => z.string().regex(new RegExp(`^[0-9a-f]{${digits}}$`));
const nanos = z.string().regex(/^\d{19}$/);
const attributes = z.array(
  z.strictObject({
    key: z.string().min(1),
    value: z.union([
      z.strictObject({ stringValue: z.string() }),
      z.strictObject({ boolValue: z.boolean() }),
      z.strictObject({ intValue: z.string().regex(/^-?\d+$/) }),
      z.strictObject({ doubleValue: z.number() }),
    ]),
  }),
);
const spanSchema = z.strictObject({
  traceId: hex(32),
  spanId: hex(16),
  parentSpanId: hex(16).optional(),
  name: z.string().min(1),
  kind: z.union([z.literal(1), z.literal(2), z.literal(3)]),
  startTimeUnixNano: nanos,
  endTimeUnixNano: nanos,
  attributes,
  status: z.strictObject({ code: z.literal(2).optional(), message: z.string().optional() }),
});
const exportSchema = z.strictObject({
  resourceSpans: z
    .array(
      z.strictObject({
        resource: z.strictObject({ attributes }),
        scopeSpans: z
          .array(
            z.strictObject({
              scope: z.strictObject({ name: z.string() }),
              spans: z.array(spanSchema).min(1),
            }),
          )
          .length(1),
      }),
    )
    .length(1),
});
type Span = z.output<typeof spanSchema>;

let spans: Span[];
let posts: number;
beforeEach(() => {
  spans = [];
  posts = 0;
  platform.reset();
  platform.origins.set(RECEIVER, async (request) => {
    posts++;
    expect([request.method, new URL(request.url).pathname]).toEqual(["POST", "/v1/traces"]);
    expect(request.headers.get("Content-Type")).toBe("application/json");
    expect(request.headers.get("Authorization")).toBe("Bearer of-the-receiver");
    const body = exportSchema.parse(await request.json());
    spans.push(...body.resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans)));
    return Response.json({});
  });
});
afterEach(() => platform.reset());

const exporting = { OTLP_ENDPOINT: RECEIVER, OTLP_AUTHORIZATION: "Bearer of-the-receiver" };
const submit = async (
  type: string,
  headers: Record<string, string> = { traceparent },
  variables: object = exporting,
) =>
  callForJson("/tasks", {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify({ type }),
    variables: { ...variables },
  });

const named = (name: string) => spans.filter((span) => span.name === name);
const one = (name: string): Span => {
  expect(named(name), JSON.stringify(spans.map((span) => span.name))).toHaveLength(1);
  return named(name)[0] as Span;
};

/** The upstream `api` of the tests, and the `traceparent` of its last call. */
function upstream() {
  const seen: (string | null)[] = [];
  resetUpstream((request) => {
    seen.push(request.headers.get("traceparent"));
    return new Response("ok");
  });
  return seen;
}

const ask = async (ctx: TaskContext) =>
  ctx.step("ask", async () => (await fetchUpstream(ctx, "scripted", "/a")).text());
const calls = newType("spans_calls", ask);

describe("with an endpoint,", () => {
  test("one trace spans the request, the ledger, the run, its step and its call", async () => {
    const seen = upstream();
    const { body, status } = await submit(calls.name);
    expect(status).toBe(202);
    const task = await whenEnded(String(body.id));
    expect(task).toMatchObject({ status: "succeeded", traceId: TRACE });
    const root = one("POST /tasks");
    const run = one("task run");
    const step = one("step");
    const call = one("upstream call");
    const chain = [root, run, step, call].map(({ parentSpanId }) => parentSpanId);
    expect(chain).toEqual([CALLER, root.spanId, run.spanId, step.spanId]);
    expect(one("permit wait").parentSpanId).toBe(step.spanId);
    expect(named("ledger call").map(({ parentSpanId }) => parentSpanId)).toContain(root.spanId);
    expect(seen).toEqual([`00-${TRACE}-${call.spanId}-01`]);
    expect(spans.every(({ traceId }) => traceId === TRACE)).toBe(true);
    expect(spans.every((span) => BigInt(span.endTimeUnixNano) >= BigInt(span.startTimeUnixNano))).toBe(true);
    expect(root.attributes).toContainEqual({ key: "http.response.status_code", value: { intValue: "202" } });
  });

  test("without a traceparent, a new trace begins, whose first span has no parent", async () => {
    upstream();
    await callForJson("/tasks?limit=1", { variables: exporting });
    const root = one("GET /tasks");
    expect(root).not.toHaveProperty("parentSpanId");
    expect(root.traceId).not.toBe(TRACE);
  });

  test("a request is called by its route, and by its method alone if there is none", async () => {
    for (const path of ["/healthz", "/files/spans-none", "/nothing/here"])
      await callForJson(path, { variables: exporting });
    const names = spans.filter(({ kind }) => kind === 2).map(({ name }) => name);
    expect(names).toEqual(["GET /healthz", "GET /files/:id", "GET"]);
  });

  test("spans travel together, and a failure says what kind of error it was, and no more", async () => {
    const fails = newType("spans_fails", async (ctx) =>
      ctx.step("secret", async () => {
        throw new RangeError("the token is xyzzy");
      }),
    );
    const { body } = await submit(fails.name);
    await whenEnded(String(body.id)).catch(() => {});
    expect(one("step").status).toEqual({ code: 2, message: "RangeError" });
    expect(posts).toBeLessThanOrEqual(3);
    expect(JSON.stringify(spans)).not.toContain("xyzzy");
  });

  test("a trace that its caller does not sample goes on, and is not recorded", async () => {
    const seen = upstream();
    const unsampled = `00-${TRACE}-${CALLER}-00`;
    const { body } = await submit(calls.name, { traceparent: unsampled });
    expect(await whenEnded(String(body.id))).toMatchObject({ traceId: TRACE });
    expect([seen, posts]).toEqual([[unsampled], 0]);
  });

  test("a receiver that fails is in no one's way", async () => {
    platform.origins.set(RECEIVER, () => new Response(null, { status: 500 }));
    upstream();
    const { lines } = await captureLogs(async () => {
      const { status, body } = await submit(calls.name);
      expect(status).toBe(202);
      expect(await whenEnded(String(body.id))).toMatchObject({ status: "succeeded" });
    });
    expect(lines.map(({ message }) => message)).toContain("spans could not be sent");
  });

  test("the bytes of an upload are a span", async () => {
    await callForJson("/files/spans.bin", {
      method: "PUT",
      body: "12345",
      variables: exporting,
      headers: { traceparent },
    });
    const part = one("upload part");
    expect([part.traceId, part.parentSpanId]).toEqual([TRACE, one("PUT /files/:id").spanId]);
    expect(part.attributes).toEqual([{ key: "sluice.bytes", value: { intValue: "5" } }]);
  });
});

describe("without an endpoint,", () => {
  test("a trace goes on through the task to the upstream, as it came", async () => {
    const seen = upstream();
    const { body } = await submit(calls.name, { traceparent }, {});
    expect(await whenEnded(String(body.id))).toMatchObject({ status: "succeeded", traceId: TRACE });
    expect([seen, posts]).toEqual([[traceparent], 0]);
  });

  test("without a trace there is none anywhere", async () => {
    const seen = upstream();
    const { body } = await submit(calls.name, {}, {});
    expect(await whenEnded(String(body.id))).not.toHaveProperty("traceId");
    expect([seen, posts]).toEqual([[null], 0]);
  });

  test("problems and log lines have the id of the trace", async () => {
    const { value, lines } = await captureLogs(async () =>
      callForJson("/tasks/none", { headers: { traceparent } }),
    );
    expect(value.body).toMatchObject({ status: 404, traceId: TRACE });
    expect((await callForJson("/tasks/none")).body).not.toHaveProperty("traceId");
    expect(lines.every((line) => line.traceId === TRACE)).toBe(true);
    const logged = await captureLogs(async () =>
      submit("task_a", { traceparent }, {}).then(({ body }) => whenEnded(String(body.id))),
    );
    expect(logged.lines).toContainEqual(
      expect.objectContaining({ message: "Task A completed.", traceId: TRACE }),
    );
  });

  test("an upstream with trace = false is told none, and others are told what came", async () => {
    const seen: (string | null)[][] = [];
    resetUpstream(({ headers }) => {
      seen.push([headers.get("traceparent"), headers.get("tracestate")]);
      return Response.json({});
    });
    const headers = { traceparent, tracestate: "vendor=1" };
    for (const name of ["untraced", "scripted"]) await callForJson(`/fetch/${name}/a`, { headers });
    expect(seen).toEqual([
      [null, null],
      [traceparent, "vendor=1"],
    ]);
  });

  test("the trace goes on in a runner, in the callback, and in a follow-up", async () => {
    const slow = newType("spans_long", ask, { lane: "long" });
    const seen: string[] = [];
    resetUpstream((request) => {
      seen.push(`${request.method} ${request.headers.get("traceparent")}`);
      return new Response("ok");
    });
    const { body } = await callForJson("/tasks", {
      method: "POST",
      headers: { "Content-Type": "application/json", traceparent },
      body: JSON.stringify({
        type: slow.name,
        callback_url: "https://app.example.com/hooks/traced",
        then: [{ type: calls.name }],
      }),
    });
    await expect
      .poll(() => seen.toSorted(), { timeout: 10_000 })
      .toEqual([`GET ${traceparent}`, `GET ${traceparent}`, `POST ${traceparent}`]);
    const task = await whenEnded(String(body.id));
    const [followUp] = task.followUps as string[];
    expect(await whenEnded(String(followUp))).toMatchObject({ traceId: TRACE });
  });
});
