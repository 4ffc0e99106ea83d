/** The settings of an upstream that say under which limit key a call runs, what each key may have, and what a call weighs. */
import { z } from "zod";
import { concurrencySchema, type PerKey, rateSchema, toRate } from "./settings.ts";

/** A part of a limit key: text as it is, a header of the request, or a segment of its path, from 1. */
export type KeyPart = { text: string } | { header: string } | { segment: number };

/** These hold secrets, and a limit key is shown to people. */
const SECRET_HEADERS = new Set(["authorization", "proxy-authorization", "cookie", "x-api-key"]);

const PLACEHOLDER = /\{(?:header:([\w-]+)|path:([1-9]\d?))\}/;
const TEMPLATE = new RegExp(`^(?:${PLACEHOLDER.source}|[^{}\\s])+$`);

/** A template such as `{header:x-customer}` or `{path:2}/{path:3}`. */
export const limitKeySchema = z
  .string()
  .max(256)
  .regex(TEMPLATE, "has placeholders {header:NAME} and {path:N}, N from 1, and no spaces or other braces")
  .transform(toParts)
  .refine((parts) => parts.some((part) => !("text" in part)), {
    message: "needs a placeholder, {header:NAME} or {path:N}: otherwise all calls have one key",
  })
  .refine((parts) => !parts.some((part) => "header" in part && SECRET_HEADERS.has(part.header)), {
    message: "must not use a header that holds a secret",
  });

export const perKeySchema = z
  .strictObject({ concurrency: concurrencySchema.optional(), rate: rateSchema.optional() })
  .refine(({ concurrency, rate }) => concurrency !== undefined || rate !== undefined, {
    message: "needs concurrency, rate, or both",
  });

/** How much calls weigh whose path begins so. */
export const weightsSchema = z
  .record(z.string().regex(/^\/[^%\\?#]*$/, "must begin with /"), z.int().min(1))
  .default({});

export const toPerKey = ({ concurrency, rate }: z.output<typeof perKeySchema>): PerKey => ({
  ...(concurrency !== undefined && { concurrency }),
  ...(rate && { rate: toRate(rate) }),
});

function toParts(template: string): KeyPart[] {
  // Every third is text; before it are the two groups of a placeholder, one of them undefined.
  const split: (string | undefined)[] = template.split(PLACEHOLDER);
  return split.flatMap((piece, i): KeyPart[] => {
    if (piece === undefined || piece === "") return [];
    if (i % 3 === 0) return [{ text: piece }];
    return [i % 3 === 1 ? { header: piece.toLowerCase() } : { segment: Number(piece) }];
  });
}
