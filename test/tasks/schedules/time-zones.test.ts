/** Which time zones a schedule may have: those of the IANA database, and no other names that the runtime knows. */
import { describe, expect, test } from "vitest";
import { timeZoneError } from "../../../src/tasks/schedules/time-zones.ts";

const LETTERS = Array.from("ABCDEFGHIJKLMNOPQRSTUVWXYZ");
const words = (text: string) => text.split(" ");

/** The names of two to five characters in the database, as of its version 2025b: zones and links. */
const SHORT = words(
  "CET CUBA EET EGYPT EIRE EST GB GMT GMT+0 GMT-0 GMT0 HST IRAN JAPAN LIBYA MET MST NZ PRC ROC ROK UCT UTC W-SU WET ZULU",
);

/** The names that ICU adds. */
const ICU = words(
  "ACT AET AGT ART AST BET BST CAT CNT CST CTT EAT ECT IET IST JST MIT NET NST PLT PNT PRT PST SST VST",
);

const isAccepted = (timeZone: string) => timeZoneError(timeZone) === undefined;

test("of all names of two and three letters, those of the database are accepted, in any case", () => {
  const pairs = LETTERS.flatMap((a) => LETTERS.map((b) => a + b));
  const names = pairs.flatMap((pair) => [pair, ...LETTERS.map((c) => pair + c)]);
  expect(names).toHaveLength(26 ** 2 + 26 ** 3);
  expect(names.filter(isAccepted)).toEqual(SHORT.filter((name) => /^[A-Z]{2,3}$/.test(name)).toSorted());
  expect(SHORT.filter((name) => !isAccepted(name) || !isAccepted(name.toLowerCase()))).toEqual([]);
});

// All 456,976 names of four letters take a minute. Of these, the runtime knew CUBA, EIRE, IRAN and ZULU.
test("of names of four letters, those of the database are accepted", () => {
  const names = [...ICU, ...SHORT].flatMap((name) =>
    LETTERS.flatMap((letter) => [name + letter, letter + name]),
  );
  expect(names.filter((name) => /^[A-Z]{4}$/.test(name) && isAccepted(name))).toEqual([]);
  expect(["CUBA", "Eire", "iran", "Zulu"].every(isAccepted)).toBe(true);
});

describe("the names that only ICU knows are rejected, in any case:", () => {
  test.each(ICU)("%s", (name) => {
    // The runtime itself would accept it.
    expect(new Intl.DateTimeFormat("en", { timeZone: name }).format(0)).not.toBe("");
    for (const written of [name, name.toLowerCase(), `${name.slice(0, 1)}${name.slice(1).toLowerCase()}`])
      expect(timeZoneError(written)).toContain(`"${written}" is not a time zone of the IANA database`);
  });

  test.each([
    ...words("AST4 AST4ADT CST6 CST6CDT EST5 EST5EDT HST10 MST7 MST7MDT PST8 PST8PDT YST9 YST9YDT").map(
      (zone) => `SystemV/${zone}`,
    ),
    "systemv/est5edt",
    "US/Pacific-New",
    "us/pacific-new",
    "Canada/East-Saskatchewan",
  ])("%s", (name) => {
    expect(isAccepted(name)).toBe(false);
  });
});

test.each([
  ...words("UTC GMT Etc/UTC Etc/GMT+5 Etc/GMT-14 GMT0 Greenwich Universal EST5EDT CST6CDT MST7MDT PST8PDT"),
  ...words(
    "US/Pacific Asia/Calcutta Asia/Kolkata Europe/Kiev Europe/Kyiv America/Argentina/ComodRivadavia GB-Eire",
  ),
  ...words(
    "NZ-CHAT America/North_Dakota/New_Salem Antarctica/DumontDUrville America/Port-au-Prince europe/berlin",
  ),
])("%s of the database is accepted", (name) => {
  expect(isAccepted(name)).toBe(true);
});

test("every zone that the runtime lists is accepted", () => {
  const listed = Intl.supportedValuesOf("timeZone");
  expect(listed.length).toBeGreaterThan(400);
  expect(listed.filter((name) => !isAccepted(name))).toEqual([]);
});

test.each([
  "",
  " UTC",
  "UTC ",
  "+02:00",
  "GMT+5",
  "UTC+2",
  "Z",
  "Etc/Unknown",
  "Etc/GMT+13",
  "Mars/Olympus",
  "UTC\0",
  "\ud83d",
])("what is no name of a zone is rejected (%#)", (name) => {
  expect(isAccepted(name)).toBe(false);
});
