/** The most JSON text that a task's input, its result or that of a step may be: together, a row has 2 MB at most. */
export const MAX_JSON_BYTES = 512 * 1024;

/** JSON text of a value. Throws if it has none, or too much. */
export function toJson(value: unknown): string {
  const text: string | undefined = JSON.stringify(value);
  if (text === undefined) throw new TypeError("A task's input and results must be JSON.");
  if (Buffer.byteLength(text) <= MAX_JSON_BYTES) return text;
  throw new RangeError(
    `A task's input and results are at most ${MAX_JSON_BYTES} bytes of JSON each; keep more in a file.`,
  );
}

export function readJson(text: string): unknown {
  return JSON.parse(text);
}
