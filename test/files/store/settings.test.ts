import { env } from "cloudflare:test";
import { expect, test } from "vitest";
import { MAX_LENGTH, MAX_UNKNOWN_LENGTH } from "../../../src/files/store/parts.ts";
import { readFileSettings } from "../../../src/files/store/settings.ts";

const read = (variables: object) => readFileSettings({ ...env, ...variables });

test("the limit holds for files of known and unknown length", () => {
  expect(read({ MAX_FILE_BYTES: 50_000_000_000, LINK_KEYS: undefined })).toEqual({
    maxBytes: 50_000_000_000,
    maxUnknownBytes: 50_000_000_000,
    maxRequestBytes: 100_000_000,
    rules: [],
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
