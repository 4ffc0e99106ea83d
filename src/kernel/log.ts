export type LogLevel = "info" | "warn" | "error";

/**
 * Writes one structured line. `fields` must be JSON and must hold no secret and no header of a request.
 */
export function log(level: LogLevel, message: string, fields: Record<string, unknown> = {}): void {
  console[level](JSON.stringify({ level, message, ...fields }));
}

/** An error as fields for `log`: its name, message, stack, and the causes behind it. */
export function errorFields(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { error: String(error) };
  const fields: Record<string, unknown> = { error: `${error.name}: ${error.message}`, stack: error.stack };
  if (error.cause !== undefined) fields.cause = errorFields(error.cause);
  return fields;
}
