/**
 * The header fields of a request, before anything reads them.
 *
 * No route needs a long one, and what is short cannot keep a parser busy. Whatever is parsed here and in the features
 * is still parsed in linear time: test/patterns.test.ts tries every regular expression on long, hostile text.
 */
import type { MiddlewareHandler } from "hono";
import type { AppEnv } from "./app-env.ts";
import { Problem } from "./problem.ts";

/** Of one field with all its values, in characters. Cloudflare accepts 128 KB for all fields together. */
const MAX_FIELD_LENGTH = 64 * 1024;

/** Rejects a request with a field that is too long (RFC 6585 §5). */
export const limitHeaders: MiddlewareHandler<AppEnv> = async (c, next) => {
  for (const [name, value] of c.req.raw.headers) {
    if (value.length > MAX_FIELD_LENGTH) {
      throw new Problem(
        "headers-too-large",
        `The header ${name} has more than ${MAX_FIELD_LENGTH} characters.`,
      );
    }
  }
  await next();
};

/** Throws a `Problem` 415 with this `detail` if the body is encoded, e.g. by gzip (RFC 9110 §8.4, §12.5.3). */
export function rejectCodings(headers: Pick<Headers, "get">, detail: string): void {
  const codings = splitField(headers.get("Content-Encoding") ?? "", ",");
  if (codings.every((coding) => /^(identity)?$/i.test(coding))) return;
  throw new Problem("unsupported-media", detail, { headers: { "Accept-Encoding": "identity" } });
}

/**
 * The members of a list (RFC 9110 §5.6.1), or the parameters of one of them if `separator` is a semicolon. Within a
 * quoted string (§5.6.4) nothing separates, and a string that is not closed extends to the end.
 */
export function splitField(field: string, separator: "," | ";"): string[] {
  const members: string[] = [];
  let start = 0;
  let isQuoted = false;
  for (let i = 0; i < field.length; i++) {
    const character = field[i];
    if (isQuoted && character === "\\") i++;
    else if (character === '"') isQuoted = !isQuoted;
    else if (character === separator && !isQuoted) {
      members.push(field.slice(start, i));
      start = i + 1;
    }
  }
  members.push(field.slice(start));
  return members.map((member) => member.trim());
}
