import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  evaluatePreconditions,
  hasPreconditions,
  ifRangeMatches,
  NO_PRECONDITIONS,
  type Preconditions,
  readPreconditions,
  type Validators,
} from "../../../src/files/store/preconditions.ts";

/** The date of RFC 9110 §5.6.7. */
const MODIFIED_AT = Date.UTC(1994, 10, 6, 8, 49, 37);
const CURRENT: Validators = { etag: '"a"', datedAtMs: MODIFIED_AT };

const IMF = "Sun, 06 Nov 1994 08:49:37 GMT";
const RFC_850 = "Sunday, 06-Nov-94 08:49:37 GMT";
const ASCTIME = "Sun Nov  6 08:49:37 1994";
const EARLIER = "Sun, 06 Nov 1994 08:49:36 GMT";
const LATER = "Sun, 06 Nov 1994 08:49:38 GMT";

const conditions = (some: Partial<Preconditions>): Preconditions => ({ ...NO_PRECONDITIONS, ...some });

test("preconditions are read from the four headers, and nothing else", () => {
  const headers = new Headers({
    "If-Match": "1",
    "If-None-Match": "2",
    "If-Modified-Since": "3",
    "If-Unmodified-Since": "4",
  });
  expect(readPreconditions(headers)).toEqual({
    ifMatch: "1",
    ifNoneMatch: "2",
    ifModifiedSince: "3",
    ifUnmodifiedSince: "4",
  });
  expect(readPreconditions(new Headers({ "If-Range": '"a"' }))).toEqual(NO_PRECONDITIONS);
  expect([hasPreconditions(NO_PRECONDITIONS), hasPreconditions(conditions({ ifMatch: "" }))]).toEqual([
    false,
    true,
  ]);
});

describe("a single header", () => {
  test.each<[string, Partial<Preconditions>, string, string, string]>([
    // header, value                                      reading          writing     writing where no file is
    ["nothing", {}, "proceed", "proceed", "proceed"],
    ["If-Match *", { ifMatch: "*" }, "proceed", "proceed", "failed"],
    ["If-Match, the same", { ifMatch: '"a"' }, "proceed", "proceed", "failed"],
    ["If-Match, another", { ifMatch: '"b"' }, "failed", "failed", "failed"],
    ["If-Match, one of several", { ifMatch: '"b", "a"' }, "proceed", "proceed", "failed"],
    ["If-Match, one of several, packed", { ifMatch: ',"b",,"a",' }, "proceed", "proceed", "failed"],
    ["If-Match, weak: the comparison is strong", { ifMatch: 'W/"a"' }, "failed", "failed", "failed"],
    ["If-Match, a comma in another tag", { ifMatch: '"x,y", "a"' }, "proceed", "proceed", "failed"],
    ["If-Match, the tag inside another", { ifMatch: '"xay"' }, "failed", "failed", "failed"],
    ["If-Match, without quotes", { ifMatch: "a" }, "failed", "failed", "failed"],
    ["If-Match, empty", { ifMatch: "" }, "failed", "failed", "failed"],
    ["If-None-Match *", { ifNoneMatch: "*" }, "not-modified", "failed", "proceed"],
    ["If-None-Match * with blanks", { ifNoneMatch: " * " }, "not-modified", "failed", "proceed"],
    ["If-None-Match, the same", { ifNoneMatch: '"a"' }, "not-modified", "failed", "proceed"],
    [
      "If-None-Match, weak: the comparison is too",
      { ifNoneMatch: 'W/"a"' },
      "not-modified",
      "failed",
      "proceed",
    ],
    ["If-None-Match, one of several", { ifNoneMatch: 'W/"b", W/"a"' }, "not-modified", "failed", "proceed"],
    ["If-None-Match, another", { ifNoneMatch: '"b"' }, "proceed", "proceed", "proceed"],
    ["If-Modified-Since, the same second", { ifModifiedSince: IMF }, "not-modified", "proceed", "proceed"],
    ["If-Modified-Since, later", { ifModifiedSince: LATER }, "not-modified", "proceed", "proceed"],
    ["If-Modified-Since, earlier", { ifModifiedSince: EARLIER }, "proceed", "proceed", "proceed"],
    ["If-Modified-Since, RFC 850", { ifModifiedSince: RFC_850 }, "not-modified", "proceed", "proceed"],
    ["If-Modified-Since, asctime", { ifModifiedSince: ASCTIME }, "not-modified", "proceed", "proceed"],
    [
      "If-Modified-Since, unreadable: ignored",
      { ifModifiedSince: "tomorrow" },
      "proceed",
      "proceed",
      "proceed",
    ],
    ["If-Unmodified-Since, the same second", { ifUnmodifiedSince: IMF }, "proceed", "proceed", "proceed"],
    ["If-Unmodified-Since, later", { ifUnmodifiedSince: LATER }, "proceed", "proceed", "proceed"],
    ["If-Unmodified-Since, earlier", { ifUnmodifiedSince: EARLIER }, "failed", "failed", "proceed"],
    ["If-Unmodified-Since, unreadable: ignored", { ifUnmodifiedSince: "0" }, "proceed", "proceed", "proceed"],
  ])("%s", (_name, some, reading, writing, creating) => {
    expect(evaluatePreconditions(conditions(some), CURRENT, true)).toBe(reading);
    expect(evaluatePreconditions(conditions(some), CURRENT, false)).toBe(writing);
    expect(evaluatePreconditions(conditions(some), undefined, false)).toBe(creating);
  });
});

test.each([
  "1994-11-06T08:49:37Z",
  "784111777",
  "Sun, 06 Nov 1994 08:49:37",
  "Sun, 06 Nov 1994 08:49:37 UTC",
  "Sun, 06 Nov 1994 08:49:37 +0000",
  "Sun, 6 Nov 1994 08:49:37 GMT",
  "Sun, 06 nov 1994 08:49:37 GMT",
  "06 Nov 1994 08:49:37 GMT",
  "Sun, 06 Nov 1994 25:49:37 GMT",
  "Sun, 06 Nov 94 08:49:37 GMT",
  "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
])("%s is not an HTTP date", (date) => {
  expect(evaluatePreconditions(conditions({ ifModifiedSince: date }), CURRENT, true)).toBe("proceed");
});

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const two = (n: number) => String(n).padStart(2, "0");

/** The three forms of §5.6.7, written by hand. */
function formsOf(ms: number): string[] {
  const date = new Date(ms);
  const [, dayOfMonth = "", month = "", year = "", time = ""] = date.toUTCString().split(" ");
  const day = DAYS[date.getUTCDay()] ?? "";
  return [
    `${day.slice(0, 3)}, ${dayOfMonth} ${month} ${year} ${time} GMT`,
    `${day}, ${dayOfMonth}-${month}-${two(date.getUTCFullYear() % 100)} ${time} GMT`,
    `${day.slice(0, 3)} ${month} ${dayOfMonth.replace(/^0/, " ")} ${time} ${year}`,
  ];
}

test("all three date formats mean the same second", () => {
  expect(formsOf(MODIFIED_AT)).toEqual([IMF, RFC_850, ASCTIME]);
  const seconds = fc.integer({ min: Date.UTC(1977) / 1000, max: Date.UTC(2049) / 1000 });
  fc.assert(
    fc.property(seconds, (second) => {
      const current = { etag: '"a"', datedAtMs: second * 1000 };
      for (const form of formsOf(second * 1000)) {
        expect(evaluatePreconditions(conditions({ ifModifiedSince: form }), current, true)).toBe(
          "not-modified",
        );
        expect(ifRangeMatches(form, current)).toBe(false);
      }
      for (const form of formsOf((second - 1) * 1000)) {
        expect(evaluatePreconditions(conditions({ ifUnmodifiedSince: form }), current, true)).toBe("failed");
        expect(ifRangeMatches(form, current)).toBe(false);
      }
    }),
  );
});

type Tag = { isWeak: boolean; is: string };
type Sent = { tags: "none" | "*" | Tag[]; header: string | null };

const tag = fc.record({ isWeak: fc.boolean(), is: fc.constantFrom("a", "b", "c,d", "é") });
const tagHeader: fc.Arbitrary<Sent> = fc.oneof(
  fc.constant<Sent>({ tags: "none", header: null }),
  fc.constant<Sent>({ tags: "*", header: "*" }),
  fc.tuple(fc.array(tag, { maxLength: 3 }), fc.constantFrom(",", ", ", " ,\t")).map(
    ([tags, comma]): Sent => ({
      tags,
      header: tags.map(({ isWeak, is }) => `${isWeak ? "W/" : ""}"${is}"`).join(comma),
    }),
  ),
);
const dateHeader = fc.constantFrom(
  { is: "none" as const, header: null },
  { is: "unreadable" as const, header: "then" },
  { is: -1, header: EARLIER },
  { is: 0, header: RFC_850 },
  { is: 1, header: LATER },
);

/** §13.2.2, step by step, for the version "a". */
function oracle(
  match: Sent,
  noneMatch: Sent,
  modified: number | string,
  unmodified: number | string,
  exists: boolean,
  isRead: boolean,
) {
  const has = ({ tags }: Sent, weakly: boolean) =>
    exists &&
    (tags === "*" || (Array.isArray(tags) && tags.some((t) => t.is === "a" && (weakly || !t.isWeak))));
  // 1
  if (match.tags !== "none" && !has(match, false)) return "failed";
  // 2
  if (match.tags === "none" && exists && typeof unmodified === "number" && unmodified < 0) return "failed";
  // 3
  if (noneMatch.tags !== "none" && has(noneMatch, true)) return isRead ? "not-modified" : "failed";
  // 4
  if (noneMatch.tags === "none" && isRead && exists && typeof modified === "number" && modified >= 0)
    return "not-modified";
  return "proceed";
}

test("together, the headers are evaluated in the order of RFC 9110 §13.2.2", () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(
      fc.tuple(tagHeader, tagHeader, dateHeader, dateHeader, fc.boolean(), fc.boolean()),
      ([match, noneMatch, modified, unmodified, exists, isRead]) => {
        const sent = {
          ifMatch: match.header,
          ifNoneMatch: noneMatch.header,
          ifModifiedSince: modified.header,
          ifUnmodifiedSince: unmodified.header,
        };
        const right = oracle(match, noneMatch, modified.is, unmodified.is, exists, isRead);
        expect(evaluatePreconditions(sent, exists ? CURRENT : undefined, isRead)).toBe(right);
        seen.add(right);
      },
    ),
    { numRuns: 5000 },
  );
  expect(seen.size).toBe(3);
});

test.each([
  [null, true],
  ['"a"', true],
  [' "a" ', true],
  ['"b"', false],
  ['W/"a"', false],
  ['"a", "b"', false],
  ["*", false],
  ["a", false],
  ["", false],
  // A date alone is no strong validator (§13.1.5).
  [IMF, false],
  [RFC_850, false],
  [ASCTIME, false],
  [EARLIER, false],
  [LATER, false],
  ["then", false],
])("If-Range %j: is it the current version? %s", (header, isSame) => {
  expect(ifRangeMatches(header, CURRENT)).toBe(isSame);
});
