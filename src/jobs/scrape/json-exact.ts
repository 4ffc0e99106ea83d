/**
 * JSON whose numbers are kept as they were written.
 *
 * `JSON.parse` makes doubles of them, so 12345678901234567890 would become another number, and an id would no longer be the
 * id. Where a number is not what its double is written as, the value is a raw number: `JSON.stringify` writes it as it was.
 */

/** What every such number has; most texts have none, and are read at full speed. */
const IN_QUESTION = /\d{16}|\d[eE]|\.\d*0\b/;

/** From the JavaScript of 2025, which the types do not have yet. */
interface ExactJson {
  parse(
    text: string,
    reviver: (key: string, value: unknown, context: { source?: string }) => unknown,
  ): unknown;
  rawJSON(text: string): object;
  isRawJSON(value: unknown): boolean;
}
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the same object, with newer methods
const exact = JSON as unknown as ExactJson;

/** Throws a `SyntaxError` if the text is not JSON. */
export function parseExactly(text: string): unknown {
  if (!IN_QUESTION.test(text)) return JSON.parse(text) as unknown;
  return exact.parse(text, (_key, value, { source }) =>
    typeof value === "number" && source !== undefined && String(value) !== source
      ? exact.rawJSON(source)
      : value,
  );
}

/** Whether a value is a number that is kept as it was written. */
export const isRawNumber = (value: unknown): boolean => exact.isRawJSON(value);
