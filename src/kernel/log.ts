export type LogLevel = "info" | "warn" | "error";

/** Writes one structured line. `fields` must be JSON, and must contain no secret and no header of a request. */
export function log(level: LogLevel, message: string, fields: Record<string, unknown> = {}): void {
  console[level](JSON.stringify({ level, message, ...fields }));
}

/** The name and message of whatever was thrown, cut to a length that can be stored. */
export function describeError(error: unknown): { name: string; message: string } {
  if (error instanceof Error) return { name: error.name, message: error.message.slice(0, 2000) };
  try {
    return { name: "Error", message: String(error).slice(0, 2000) };
  } catch {
    return { name: "Error", message: "The thrown value cannot be shown." };
  }
}

/** An error as fields for `log`: its name, message, stack, and up to three causes behind it. */
export function errorFields(error: unknown, causes = 3): Record<string, unknown> {
  const { name, message } = describeError(error);
  const fields: Record<string, unknown> = { error: `${name}: ${message}` };
  if (!(error instanceof Error)) return fields;
  fields.stack = error.stack;
  if (error.cause !== undefined && causes > 0) fields.cause = errorFields(error.cause, causes - 1);
  return fields;
}
