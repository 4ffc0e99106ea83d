/** The limit for a task's input, for its result, and for a step's result, as JSON text. A row holds at most 2 MB. */
export const MAX_JSON_BYTES = 512 * 1024;

/** A value as JSON text. Throws if JSON cannot express it or the text is too long. */
export function toJson(value: unknown): string {
  const text: string | undefined = JSON.stringify(value);
  if (text === undefined) throw new TypeError("A task's input and results must be JSON.");
  if (Buffer.byteLength(text) <= MAX_JSON_BYTES) return text;
  throw new RangeError(
    `A task's input and results may each have at most ${MAX_JSON_BYTES} bytes of JSON. Store larger data in a file.`,
  );
}

export function readJson(text: string): unknown {
  return JSON.parse(text);
}
