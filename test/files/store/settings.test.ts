import { env } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { MAX_LENGTH, MAX_UNKNOWN_LENGTH } from "../../../src/files/store/parts.ts";
import { readFileSettings, readLinkKeys } from "../../../src/files/store/settings.ts";
import { captureLogs } from "../../support/call.ts";

const read = (variables: object) => readFileSettings({ ...env, ...variables });
const KEY = "0123456789abcdef0123456789abcdef";

test("the limit holds for files of known and unknown length", () => {
  expect(read({ MAX_FILE_BYTES: 50_000_000_000, LINK_KEYS: undefined })).toEqual({
    maxBytes: 50_000_000_000,
    maxUnknownBytes: 50_000_000_000,
    maxRequestBytes: 100_000_000,
  });
});

test("MAX_REQUEST_BYTES may be missing, as in the wrangler.toml of 0.1.0", () => {
  expect(read({ MAX_REQUEST_BYTES: undefined })).toMatchObject({ maxRequestBytes: 100_000_000 });
  expect(read({ MAX_REQUEST_BYTES: 200_000_000 })).toMatchObject({ maxRequestBytes: 200_000_000 });
  expect(() => read({ MAX_REQUEST_BYTES: 0 })).toThrow("MAX_REQUEST_BYTES");
});

test.each([
  [1, 1],
  [MAX_UNKNOWN_LENGTH - 1, MAX_UNKNOWN_LENGTH - 1],
  [MAX_UNKNOWN_LENGTH, MAX_UNKNOWN_LENGTH],
  [MAX_UNKNOWN_LENGTH + 1, MAX_UNKNOWN_LENGTH],
  [MAX_LENGTH, MAX_UNKNOWN_LENGTH],
])("with MAX_FILE_BYTES=%i, a file of unknown length can be %i bytes", (MAX_FILE_BYTES, maxUnknownBytes) => {
  expect(read({ MAX_FILE_BYTES })).toMatchObject({ maxBytes: MAX_FILE_BYTES, maxUnknownBytes });
});

test.each([0, -1, 1.5, MAX_LENGTH + 1, "many", null, undefined])(
  "MAX_FILE_BYTES=%s stops the Worker with a message that names it",
  (MAX_FILE_BYTES) => {
    expect(() => read({ MAX_FILE_BYTES })).toThrow("MAX_FILE_BYTES");
  },
);

describe("LINK_KEYS", () => {
  test.each([
    [undefined, []],
    ["", []],
    ["  ", []],
    [KEY, [KEY]],
    [`${KEY}1 ${KEY}2`, [`${KEY}1`, `${KEY}2`]],
    [` ${KEY}1\n${KEY}2 `, [`${KEY}1`, `${KEY}2`]],
  ])("%j is %j", (LINK_KEYS, linkKeys) => {
    expect(readLinkKeys({ ...env, LINK_KEYS } as Env)).toEqual(linkKeys);
  });

  test.each([KEY.slice(1), `${KEY}\n${KEY} short`])(
    "%j closes links, and neither the problem nor the log shows it",
    async (LINK_KEYS) => {
      const { lines } = await captureLogs(async () =>
        expect(() => readLinkKeys({ ...env, LINK_KEYS } as Env)).toThrow(
          "The secret LINK_KEYS is missing or wrong",
        ),
      );
      expect(lines).toMatchObject([{ level: "error", secret: "LINK_KEYS" }]);
      expect(lines[0]?.why).toMatch(/LINK_KEYS\.\d: each key needs(?!.*(?:short$|0123))/s);
    },
  );
});
