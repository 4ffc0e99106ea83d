/**
 * Which trace code is part of (W3C Trace Context, w3.org/TR/trace-context). What runs in a trace, or follows from it,
 * finds it here.
 *
 * There is a trace if the caller has sent a `traceparent`, or if spans are exported (spans.ts). Otherwise there is none, and
 * nothing is written, kept or sent.
 */
import { AsyncLocalStorage } from "node:async_hooks";

export interface TraceContext {
  /** 32 hexadecimal digits. */
  traceId: string;
  /** 16 hexadecimal digits: the span that this is, or whose child the next one is. */
  spanId: string;
  /** Whether whoever began the trace records it. */
  isSampled: boolean;
}

/** §3.2.2: two digits for the version, then what version 00 has. A later version may have more after a dash. */
const TRACEPARENT = /^([\da-f]{2})-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(-.*)?$/;
const SAMPLED = 1;

/** Undefined if it is absent or invalid (§3.2.2.3): then it is as good as none. */
export function parseTraceparent(text: string | null | undefined): TraceContext | undefined {
  const [, version = "", traceId = "", spanId = "", flags = "", more] =
    TRACEPARENT.exec(text?.trim() ?? "") ?? [];
  const isKnown = version !== "ff" && (version !== "00" || more === undefined);
  if (!isKnown || /^0*$/.test(traceId) || /^0*$/.test(spanId)) return undefined;
  return { traceId, spanId, isSampled: (Number.parseInt(flags, 16) & SAMPLED) === SAMPLED };
}

export const formatTraceparent = ({ traceId, spanId, isSampled }: TraceContext): string =>
  `00-${traceId}-${spanId}-${isSampled ? "01" : "00"}`;

export const newTrace = (): TraceContext => ({
  traceId: randomHex(16),
  spanId: randomHex(8),
  isSampled: true,
});

/** Another span of the same trace. */
export const childOf = (context: TraceContext): TraceContext => ({ ...context, spanId: randomHex(8) });

/** Never all zeros: §3.2.2.3 has that for an id which is not valid. */
function randomHex(bytes: number): string {
  const random = crypto.getRandomValues(new Uint8Array(bytes));
  random[0] ||= 1;
  return Buffer.from(random).toString("hex");
}

/** The context, and what records spans in it, if anything does. */
export interface Trace<Recorder = unknown> {
  context: TraceContext;
  recorder: Recorder | undefined;
}

const current = new AsyncLocalStorage<Trace | undefined>();

/** Runs `action` in a trace, or in none. */
export const inTrace = <T>(trace: Trace | undefined, action: () => T): T => current.run(trace, action);

export const currentTrace = (): Trace | undefined => current.getStore();

export const currentTraceId = (): string | undefined => current.getStore()?.context.traceId;

export const isRecording = (): boolean => current.getStore()?.recorder !== undefined;

/** For what is to continue the trace: an upstream, a task. */
export function currentTraceparent(): string | undefined {
  const trace = current.getStore();
  return trace && formatTraceparent(trace.context);
}
