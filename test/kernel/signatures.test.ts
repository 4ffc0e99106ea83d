import { env } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { isSignatureOf, readLinkKeys, signText } from "../../src/kernel/signatures.ts";
import { captureLogs } from "../support/call.ts";

const KEY = "0123456789abcdef0123456789abcdef";

test("a signature is that of its text and of a key, and of no other", () => {
  const keyed = { ...env, ACCESS: "tokens", LINK_KEYS: KEY } as Env;
  const signature = signText(keyed, "a\nb");
  expect(isSignatureOf(keyed, "a\nb", signature)).toBe(true);
  expect(isSignatureOf(keyed, "a\nc", signature)).toBe(false);
  expect(isSignatureOf({ ...keyed, LINK_KEYS: `${KEY}2` } as Env, "a\nb", signature)).toBe(false);
});

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
