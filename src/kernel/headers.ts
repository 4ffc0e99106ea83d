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

/** Whether the content is encoded (RFC 9110 §8.4), e.g. by gzip. `identity` is no coding. */
export function hasContentCoding(headers: Pick<Headers, "get">): boolean {
  const codings = (headers.get("Content-Encoding") ?? "").split(",").map((name) => name.trim().toLowerCase());
  return codings.some((coding) => coding !== "" && coding !== "identity");
}
