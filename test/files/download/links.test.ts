import { env } from "cloudflare:test";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkLink, signLink as sign } from "../../../src/files/download/links.ts";
import { Problem } from "../../../src/kernel/problem.ts";

const OLD = "old-key-of-the-links-0123456789-0123456789";
const NEW = "new-key-of-the-links-0123456789-0123456789";
const NOW = 1_800_000_000;

/** The end of a link that expires at a time in seconds. */
const signLink = (bindings: Env, id: string, expiresAt: number) =>
  sign(bindings, id, expiresAt - NOW, NOW * 1000).token;

const keyed = (LINK_KEYS: string) => Object.assign({}, env, { ACCESS: "tokens", LINK_KEYS });

/** What checking a link gives at a time, in seconds. */
function verdict(keys: string, id: string, token: string, at = NOW): string {
  try {
    checkLink(keyed(keys), id, token, at * 1000);
    return "valid";
  } catch (error) {
    if (error instanceof Problem) return error.kind;
    throw error;
  }
}

const BASE64URL = Array.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
const token = signLink(keyed(OLD), "a", NOW + 60);

test("a link is valid until it expires, and not from then on", () => {
  const verdicts = [NOW, NOW + 59, NOW + 60, NOW + 61].map((at) => verdict(OLD, "a", token, at));
  expect(verdicts).toEqual(["valid", "valid", "forbidden", "forbidden"]);
  expect(token.startsWith(`${NOW + 60}.`)).toBe(true);
});

describe("a link that was not issued is rejected", () => {
  const [, signature = ""] = token.split(".");
  test.each([
    ["(a good one, to compare)", "a", token, "valid"],
    ["for another file", "b", token, "forbidden"],
    ["for a file whose id has the same beginning", "a1", token, "forbidden"],
    ["for longer", "a", `${NOW + 61}.${signature}`, "forbidden"],
    ["with a leading zero", "a", `0${token}`, "forbidden"],
    ["with a plus", "a", `+${token}`, "forbidden"],
    ["with a fraction of a second", "a", token.replace(".", ".0."), "forbidden"],
    ["for longer, with a leading zero", "a", `0${NOW + 61}.${signature}`, "forbidden"],
    ["for the file `a\\n1…`, its id cut", "a\n1", `800000060.${signature}`, "forbidden"],
    ["without a signature", "a", `${NOW + 60}.`, "forbidden"],
    ["with half a signature", "a", token.slice(0, -20), "forbidden"],
    ["with more than a signature", "a", `${token}A`, "forbidden"],
    ["without a time", "a", `.${signature}`, "forbidden"],
    ["with a time that is not a number", "a", `1e10.${signature}`, "forbidden"],
    ["with a negative time", "a", `-1.${signature}`, "forbidden"],
    ["empty", "a", "", "forbidden"],
  ])("%s", (_name, id, shown, right) => {
    expect(verdict(OLD, id, shown)).toBe(right);
  });

  test("with another last character, also if it means the same bytes", () => {
    const others = BASE64URL.filter((last) => last !== signature.at(-1));
    const same = others.filter((last) => {
      const other = Buffer.from(signature.slice(0, -1) + last, "base64url");
      return other.equals(Buffer.from(signature, "base64url"));
    });
    expect(same).toHaveLength(3);
    for (const last of others) expect(verdict(OLD, "a", token.slice(0, -1) + last)).toBe("forbidden");
  });

  test("with any bit of its signature changed", () => {
    const bytes = Buffer.from(signature, "base64url");
    fc.assert(
      fc.property(fc.nat(bytes.length * 8 - 1), (bit) => {
        const changed = Buffer.from(bytes);
        changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
        expect(verdict(OLD, "a", `${NOW + 60}.${changed.toString("base64url")}`)).toBe("forbidden");
      }),
    );
  });
});

describe("a key can be replaced", () => {
  test("links of the old key stay valid beside the new one, which signs from then on", () => {
    const both = `${NEW} ${OLD}`;
    const signedNow = signLink(keyed(both), "a", NOW + 60);
    expect([verdict(both, "a", token), verdict(both, "a", signedNow), verdict(NEW, "a", signedNow)]).toEqual([
      "valid",
      "valid",
      "valid",
    ]);
    expect(verdict(OLD, "a", signedNow)).toBe("forbidden");
  });

  test("and its links become invalid when it is removed", () => {
    expect(verdict(NEW, "a", token)).toBe("forbidden");
  });
});

test("without a key nothing is signed and no link is valid, not even one that is signed with an empty key", () => {
  expect(() => signLink(keyed(""), "a", NOW)).toThrow("LINK_KEYS");
  expect(verdict("", "a", token)).toBe("forbidden");
});

test("with ACCESS=local and without a key, links are signed with a key that nobody else has", () => {
  const local = Object.assign(keyed(""), { ACCESS: "local" });
  const own = signLink(local, "a", NOW + 60);
  const check = (id: string, shown: string) => () => checkLink(local, id, shown, NOW * 1000);
  expect(check("a", own)).not.toThrow();
  expect(check("b", own)).toThrow("not valid");
  expect(check("a", token)).toThrow("not valid");
  expect(verdict(OLD, "a", own)).toBe("forbidden");
});
