import { cleanText } from "./clean-url.ts";
import { cutText, showValue, toFields } from "./safe-text.ts";
import { currentTraceId } from "./trace.ts";

export { describeError, errorFields } from "./safe-text.ts";

export type LogLevel = "info" | "warn" | "error";

const MAX_LOG_MESSAGE_LENGTH = 2_000;

/**
 * Writes one structured line, whatever it is given: what is not JSON is shown as text, what is long is cut, and URLs are
 * cleaned (their queries, their passwords, the tokens of links). `fields` must contain no other secret, and no header of
 * a request.
 */
export function log(level: LogLevel, message: string, fields: Record<string, unknown> = {}): void {
  const text = typeof message === "string" ? cutText(message, MAX_LOG_MESSAGE_LENGTH) : showValue(message);
  // Code that is not checked by types calls this too, through `ctx.log`.
  const method = level === "warn" || level === "error" ? level : "info";
  const traceId = currentTraceId();
  const line = { level: method, message: text, ...toFields(fields), ...(traceId && { traceId }) };
  console[method](cleanText(JSON.stringify(line)));
}
