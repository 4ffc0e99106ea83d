/**
 * Query parameters, read alike by every route.
 *
 * A parameter that is given empty (`?type=&limit=`) is absent: that is what a form, or a URL template that is not
 * filled in, sends. It is given once: of `?type=a&type=b`, neither would be what the caller means. A number is written in decimal digits and nothing else: `0x10`, `1e2` and ` 5` are not numbers here,
 * although `Number` reads them.
 */
import { z } from "zod";

/** The schema of one parameter, which may be absent. */
export function emptyIsAbsent<S extends z.ZodType>(schema: S) {
  return z.preprocess(readOnce, schema.optional());
}

/** `limit`: how many entries a page may have. A page has `byDefault` of them if the caller says nothing. */
export function pageSize(max: number, byDefault: number) {
  const size = z
    .int({ error: `must be a whole number from 1 to ${max}, in decimal digits` })
    .min(1)
    .max(max)
    // Not a default of the schema: generated clients would have to send it.
    .optional()
    .meta({ description: `The size of the page, at most ${max}. Default: ${byDefault}.` });
  return z.preprocess(readDigits, size).transform((given) => given ?? byDefault);
}

/** `cursor`: the `next` of the previous page. */
export function cursorParam() {
  return emptyIsAbsent(z.string().max(200).meta({ description: "`next` of the previous page." }));
}

function readDigits(value: string | string[] | undefined, ctx: z.RefinementCtx): string | number | undefined {
  const text = readOnce(value, ctx);
  return text !== undefined && /^\d+$/.test(text) ? Math.min(Number(text), Number.MAX_SAFE_INTEGER) : text;
}

function readOnce(value: string | string[] | undefined, ctx: z.RefinementCtx): string | undefined {
  const [text, ...others] = [value].flat().filter((given) => given !== "");
  if (others.length > 0) ctx.addIssue("is given more than once");
  return text;
}
