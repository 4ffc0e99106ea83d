/**
 * Where the next page of a list is. There are four ways of saying so, and each has its own end:
 *
 *     link     the header `Link: <…>; rel="next"`                       without it, the page was the last
 *     cursor   a member of the answer, or a header                      without it, or if it is null, empty or false
 *     page     the number of the page, counted up                       a page without items
 *     offset   the number of items so far                               a page without items
 *
 * Everything here is pure: the answer goes in, and the next address or the end comes out.
 */
import { z } from "zod";
import { addressOf } from "./addresses.ts";
import { nextLink } from "./link-header.ts";

const MAX_NAME_LENGTH = 200;
const name = z.string().min(1).max(MAX_NAME_LENGTH);
const header = name.regex(/^[\w-]+$/, "is not the name of a header");

export const paginationSchema = z
  .discriminatedUnion("by", [
    z.strictObject({ by: z.literal("link") }),
    z
      .strictObject({
        by: z.literal("cursor"),
        member: name.optional().meta({ description: "Where the answer has it, such as `meta.next`." }),
        header: header.optional().meta({ description: "The response header that has it." }),
        parameter: name.optional().meta({
          description: "The query parameter that takes it. Without one, it is the address of the next page.",
        }),
      })
      .refine(({ member, header: one }) => (member === undefined) !== (one === undefined), {
        message: "needs exactly one of member and header",
      }),
    z.strictObject({
      by: z.literal("page"),
      parameter: name.default("page"),
      first: z.int().min(0).max(1_000_000_000).default(1),
    }),
    z.strictObject({
      by: z.literal("offset"),
      parameter: name.default("offset"),
      first: z.int().min(0).max(1_000_000_000).default(0),
    }),
  ])
  .meta({ example: { by: "link" } });

export type Pagination = z.output<typeof paginationSchema>;

/** What the next page depends on. */
export interface PageAnswer {
  address: string;
  headers: Headers;
  /** The JSON of the body. */
  value: unknown;
  itemCount: number;
}

/**
 * `last-page`: there is no further one. `foreign`: the next one is not on the upstream's origin. `malformed`: the answer
 * says where it is in a way that nobody understands.
 */
export type Next = { address: string } | { end: "last-page" | "foreign" | "malformed" };

/** The address of the first page. */
export function firstPage(pagination: Pagination, path: string): string {
  if (pagination.by !== "page" && pagination.by !== "offset") return path;
  const { parameter, first } = pagination;
  return parameterOf(path, parameter) === undefined ? withParameter(path, parameter, String(first)) : path;
}

export function nextPage(pagination: Pagination, answer: PageAnswer, origin: string): Next {
  const { address, headers, itemCount } = answer;
  switch (pagination.by) {
    case "link":
      return toReference(nextLink(headers.get("link")), address, origin);
    case "cursor":
      return afterCursor(pagination, answer, origin);
    case "page":
      return itemCount === 0 ? LAST : counted(address, pagination.parameter, 1);
    case "offset":
      return itemCount === 0 ? LAST : counted(address, pagination.parameter, itemCount);
  }
}

const LAST: Next = { end: "last-page" };

function toReference(reference: string | undefined, address: string, origin: string): Next {
  if (reference === undefined) return LAST;
  const found = addressOf(reference, `${origin}${address}`, origin);
  return typeof found === "object" ? found : { end: found };
}

type ByCursor = Extract<Pagination, { by: "cursor" }>;

function afterCursor(
  { member, header: headerName, parameter }: ByCursor,
  answer: PageAnswer,
  origin: string,
): Next {
  const { address, headers, value } = answer;
  const cursor = headerName === undefined ? memberOf(value, member ?? "") : headers.get(headerName);
  if (cursor === undefined || cursor === null || cursor === "" || cursor === false) return LAST;
  const text = typeof cursor === "string" ? cursor : numberText(cursor);
  if (text === undefined) return { end: "malformed" };
  if (parameter === undefined) return toReference(text, address, origin);
  return { address: withParameter(address, parameter, text) };
}

/** A number that a double does not keep is kept as it was written: see json-exact.ts. */
function numberText(value: unknown): string | undefined {
  const text = typeof value === "number" || typeof value === "object" ? JSON.stringify(value) : "";
  return /^-?\d/.test(text) ? text : undefined;
}

function counted(address: string, parameter: string, by: number): Next {
  const now = Number(parameterOf(address, parameter));
  return Number.isSafeInteger(now)
    ? { address: withParameter(address, parameter, String(now + by)) }
    : { end: "malformed" };
}

/** The member that a path such as `data.items` leads to; undefined if there is none. */
export function memberOf(value: unknown, path: string): unknown {
  let found = value;
  for (const key of path.split(".")) {
    if (typeof found !== "object" || found === null || !Object.hasOwn(found, key)) return undefined;
    found = Reflect.get(found, key);
  }
  return found;
}

/** The value of a query parameter, decoded; undefined if the address has none. */
function parameterOf(address: string, parameter: string): string | undefined {
  return new URLSearchParams(queryOf(address).join("&")).get(parameter) ?? undefined;
}

/** The address with this parameter, in place of those of its name. The others stay as they are written. */
export function withParameter(address: string, parameter: string, value: string): string {
  const others = queryOf(address).filter((one) => !new URLSearchParams(one).has(parameter));
  const own = `${encodeURIComponent(parameter)}=${encodeURIComponent(value)}`;
  return `${address.split("?", 1)[0]}?${[...others, own].join("&")}`;
}

const queryOf = (address: string): string[] => {
  const at = address.indexOf("?");
  return at < 0
    ? []
    : address
        .slice(at + 1)
        .split("&")
        .filter((one) => one !== "");
};
