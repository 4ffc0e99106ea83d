/**
 * Spans: what a part of the work took, sent as OTLP/HTTP with JSON (opentelemetry.io/docs/specs/otlp, "OTLP/HTTP").
 *
 * Only with the variable `OTLP_ENDPOINT`, and only in traces that are sampled. Spans are collected for a moment and sent
 * together, in `waitUntil`: nothing waits for them. Spans that cannot be sent are lost.
 */
import { z } from "zod";
import { errorFields, log } from "./log.ts";
import { countSubrequests } from "./subrequests.ts";
import { childOf, currentTrace, inTrace, newTrace, parseTraceparent, type Trace } from "./trace.ts";
import { perEnv, readVariable } from "./variables.ts";
import type { WaitUntil } from "./wait-until.ts";

type Attributes = Readonly<Record<string, string | number | boolean | undefined>>;

/** opentelemetry-proto, trace.proto: `Span.SpanKind`. */
const KINDS = { internal: 1, server: 2, client: 3 } as const;
/** trace.proto: `Status.StatusCode`. */
const FAILED = 2;

interface SpanRecord {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: number;
  /** Nanoseconds since the epoch: as text, since JSON numbers cannot hold them (protobuf's JSON mapping). */
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  attributes: { key: string; value: object }[];
  status: { code?: number; message?: string };
}

const endpointSchema = z
  .union([z.literal(""), z.url({ protocol: /^https?$/ })])
  .default("")
  .transform((url) => (url === "" ? undefined : `${url.replace(/\/$/, "")}/v1/traces`));

/** Where spans go, and with which `Authorization`. Undefined: nowhere. */
export const readSpanTarget = perEnv((env) => {
  const url = readVariable(env, "OTLP_ENDPOINT", endpointSchema);
  const authorization = readVariable(env, "OTLP_AUTHORIZATION", z.string().default(""));
  return url === undefined ? undefined : { url, authorization };
});

/** For how long spans are collected, and how many are sent in one request. */
const COLLECT_MS = 1_000;
const MAX_BATCH = 256;
const DEADLINE_MS = 10_000;
const MAX_TEXT_LENGTH = 500;

/** Collects the spans of one invocation, and sends them. */
class Recorder {
  readonly #env: Env;
  readonly #ctx: WaitUntil;
  #records: SpanRecord[] = [];
  #isSending = false;

  constructor(env: Env, ctx: WaitUntil) {
    this.#env = env;
    this.#ctx = ctx;
  }

  add(record: SpanRecord): void {
    this.#records.push(record);
    if (this.#isSending) return;
    this.#isSending = true;
    this.#ctx.waitUntil(this.#send());
  }

  async #send(): Promise<void> {
    await scheduler.wait(COLLECT_MS);
    const records = this.#records;
    this.#records = [];
    this.#isSending = false;
    try {
      for (let i = 0; i < records.length; i += MAX_BATCH)
        await post(this.#env, records.slice(i, i + MAX_BATCH));
    } catch (error) {
      log("warn", "spans could not be sent", { spans: records.length, ...errorFields(error) });
    }
  }
}

async function post(env: Env, spans: SpanRecord[]): Promise<void> {
  const target = readSpanTarget(env);
  if (!target) return;
  const { id } = env.CF_VERSION_METADATA;
  const resource = { attributes: toAttributes({ "service.name": "sluice", "service.version": id }) };
  const body = { resourceSpans: [{ resource, scopeSpans: [{ scope: { name: "sluice" }, spans }] }] };
  countSubrequests({ external: 1 });
  const response = await fetch(target.url, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      ...(target.authorization === "" ? {} : { Authorization: target.authorization }),
    },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(DEADLINE_MS),
  });
  await response.body?.cancel();
  if (!response.ok) throw new Error(`the endpoint responded with ${response.status}`);
}

/**
 * Runs `action` in the trace of `traceparent`, or if that is none and spans are exported, in a new one; as a span, if the
 * trace is recorded. `ctx`: of the invocation, in which its spans are sent.
 */
export async function inRootSpan<T>(
  { env, ctx, traceparent }: Origin,
  name: string,
  options: SpanOptions,
  action: () => Promise<T>,
): Promise<T> {
  const trace = beginTrace(env, ctx, traceparent);
  return inTrace(trace, async () => span(name, options, action));
}

/** Where a trace comes from, and the invocation that goes on with it. */
interface Origin {
  env: Env;
  ctx: WaitUntil;
  traceparent: string | null | undefined;
}

function beginTrace(env: Env, ctx: WaitUntil, traceparent: Origin["traceparent"]): Trace | undefined {
  const isExported = readSpanTarget(env) !== undefined;
  const received = parseTraceparent(traceparent);
  if (!received && !isExported) return undefined;
  const isRecorded = isExported && received?.isSampled !== false;
  const recorder = isRecorded ? new Recorder(env, ctx) : undefined;
  return { context: received ?? { ...newTrace(), spanId: NO_PARENT }, recorder };
}

/** Of the first span of a trace. Nobody else sees it, since that span is begun at once. */
const NO_PARENT = "";

interface SpanOptions {
  kind?: keyof typeof KINDS;
  attributes?: Attributes;
  /** More attributes, known at the end. */
  atEnd?: () => Attributes & { name?: string };
}

/** Runs `action` as a span of the current trace, if that is recorded; otherwise just runs it. */
export async function span<T>(name: string, options: SpanOptions, action: () => Promise<T>): Promise<T> {
  const trace = currentTrace();
  const recorder = trace?.recorder;
  if (!trace || !(recorder instanceof Recorder)) return action();
  const context = childOf(trace.context);
  const startedAtMs = Date.now();
  const record = (error?: { of: unknown }) => {
    const { name: better, ...more } = options.atEnd?.() ?? {};
    recorder.add({
      traceId: context.traceId,
      spanId: context.spanId,
      ...(trace.context.spanId === NO_PARENT ? {} : { parentSpanId: trace.context.spanId }),
      name: better ?? name,
      kind: KINDS[options.kind ?? "internal"],
      startTimeUnixNano: toNanos(startedAtMs),
      endTimeUnixNano: toNanos(Date.now()),
      attributes: toAttributes({ ...options.attributes, ...more }),
      status: error ? { code: FAILED, message: messageOf(error.of) } : {},
    });
  };
  try {
    const result = await inTrace({ context, recorder }, action);
    record();
    return result;
  } catch (error) {
    record({ of: error });
    throw error;
  }
}

const toNanos = (ms: number): string => `${Math.round(ms)}000000`;

/** The kind of the error alone: a message may hold what only its caller may see. */
const messageOf = (error: unknown): string =>
  (error instanceof Error ? error.name : "Error").slice(0, MAX_TEXT_LENGTH);

function toAttributes(attributes: Attributes): SpanRecord["attributes"] {
  return Object.entries(attributes).flatMap(([key, value]) =>
    value === undefined ? [] : [{ key, value: toValue(value) }],
  );
}

/** common.proto: `AnyValue`. */
function toValue(value: string | number | boolean): object {
  if (typeof value === "string") return { stringValue: value.slice(0, MAX_TEXT_LENGTH) };
  if (typeof value === "boolean") return { boolValue: value };
  // Of 64 bits, and so text in JSON.
  return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value };
}
