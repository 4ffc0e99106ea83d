import { env } from "cloudflare:test";
import { expect, test } from "vitest";
import { grantRequestSchema, readGrant, readLiveGrant, signGrant } from "../../../src/files/grants/grant.ts";
import { Problem } from "../../../src/kernel/problem.ts";

const OLD = "old-key-of-the-links-0123456789-0123456789";
const NEW = "new-key-of-the-links-0123456789-0123456789";
const NOW_MS = 1_800_000_000_000;

const keyed = (LINK_KEYS: string) => Object.assign({}, env, { ACCESS: "tokens", LINK_KEYS });
const request = grantRequestSchema.parse({ max_bytes: 5, expires_in: 60, metadata: { né: "日本" } });
const id = signGrant(keyed(OLD), request, NOW_MS);

const kindOf = (act: () => unknown) => {
  try {
    act();
    return "valid";
  } catch (error) {
    if (error instanceof Problem) return error.kind;
    throw error;
  }
};

test("a grant has its terms in itself, is live until it expires, and can be read after that", () => {
  const terms = readGrant(keyed(OLD), id);
  expect(terms).toMatchObject({
    maxBytes: 5,
    files: 1,
    metadata: { né: "日本" },
    expiresAtMs: NOW_MS + 60_000,
  });
  const at = (ms: number) => kindOf(() => readLiveGrant(keyed(OLD), id, ms));
  expect([at(NOW_MS + 59_999), at(NOW_MS + 60_000)]).toEqual(["valid", "forbidden"]);
});

test("a key that was replaced is good as long as it is there", () => {
  const by = (keys: string) => kindOf(() => readGrant(keyed(keys), id));
  expect([by(`${NEW} ${OLD}`), by(NEW)]).toEqual(["valid", "forbidden"]);
  expect(kindOf(() => signGrant(keyed(""), request, NOW_MS))).toBe("no-link-key");
});

test.each(["", ".", "x", "a.b", `${id}a`, `a${id}`, id.slice(1), id.toUpperCase()])(
  "what nobody signed is refused: %s",
  (text) => {
    expect(kindOf(() => readGrant(keyed(OLD), text))).toBe("forbidden");
  },
);
