import * as fc from "fast-check";
import { expect, test } from "vitest";
import { type GrantUse, hold, release, store, UNUSED } from "../../../src/files/store/grant-use.ts";

const blob = fc.integer({ min: 0, max: 5 }).map((number) => `b${number}`);
const step = fc.oneof(
  fc.record({ does: fc.constant("hold" as const), blobs: blob.map((one) => [one]) }),
  fc.record({ does: fc.constant("release" as const), blobs: blob.map((one) => [one]) }),
  fc.record({
    does: fc.constant("store" as const),
    blobs: fc.uniqueArray(blob, { minLength: 1, maxLength: 3 }),
  }),
);

test("files that are stored and on their way are never more than the grant allows, and a place given back is free", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), fc.array(step, { maxLength: 30 }), (files, steps) => {
      let use: GrantUse = UNUSED;
      let stored = 0;
      const held = new Set<string>();
      for (const { does, blobs } of steps) {
        const [first = ""] = blobs;
        const waiting = blobs.filter((one) => held.has(one)).length;
        const after =
          does === "hold"
            ? hold(use, files, first)
            : does === "store"
              ? store(use, files, blobs)
              : release(use, first);
        const hasRoom = {
          hold: held.has(first) || stored + held.size < files,
          store: stored + held.size - waiting + blobs.length <= files,
          release: true,
        }[does];
        expect(typeof after !== "string").toBe(hasRoom);
        if (typeof after === "string") continue;
        use = after;
        if (does === "hold") held.add(first);
        else for (const one of blobs) held.delete(one);
        if (does === "store") stored += blobs.length;
        expect([use.stored, new Set(use.held)]).toEqual([stored, held]);
        expect(use.stored + use.held.length).toBeLessThanOrEqual(files);
      }
    }),
  );
});

test("a revoked grant begins and stores nothing, and an upload that ends is forgotten", () => {
  const revoked = { stored: 0, held: ["a"], isRevoked: true };
  expect([hold(revoked, 9, "b"), hold(revoked, 9, "a"), store(revoked, 9, ["a"])]).toEqual(
    Array(3).fill("revoked"),
  );
  expect(release(revoked, "a")).toEqual({ stored: 0, held: [], isRevoked: true });
});
