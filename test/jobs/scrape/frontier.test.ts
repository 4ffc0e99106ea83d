import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  Frontier,
  HashSet,
  MAX_SEEN,
  MAX_WAITING_LENGTH,
  type Visit,
} from "../../../src/jobs/scrape/frontier.ts";

const visit = (address: string, depth = 0): Visit => ({ address, depth });
const takeAll = (frontier: Frontier) => {
  const taken: Visit[] = [];
  for (let next = frontier.take(); next; next = frontier.take()) taken.push(next);
  return taken;
};

describe("a frontier", () => {
  test("hands out each address once, in the order of arrival", () => {
    const frontier = new Frontier(1);
    expect(["/a", "/b", "/a"].map((address) => frontier.offer(visit(address)))).toEqual([
      "taken",
      "taken",
      "seen",
    ]);
    const [a] = takeAll(frontier);
    frontier.finish(a ?? visit(""));
    expect(frontier.offer(visit("/a"))).toBe("seen");
    expect(frontier.take()).toBeUndefined();
  });

  test("takes none that is too deep, which may come again by a shorter way", () => {
    const frontier = new Frontier(1);
    expect(frontier.offer(visit("/a", 2))).toBe("deep");
    expect(frontier.offer(visit("/a", 1))).toBe("taken");
  });

  test("gives back in front", () => {
    const frontier = new Frontier(1);
    for (const address of ["/a", "/b"]) frontier.offer(visit(address));
    const first = frontier.take();
    frontier.giveBack(first ?? visit(""));
    expect(takeAll(frontier).map(({ address }) => address)).toEqual(["/a", "/b"]);
  });

  test("has room for so many characters, and more once some are finished", () => {
    const frontier = new Frontier(1);
    const long = (n: number) => visit(`/${String(n).padStart(1_990, "x")}`);
    let n = 0;
    while (frontier.offer(long(n)) === "taken") n++;
    expect(n).toBeGreaterThan(100);
    expect(frontier.offer(long(n))).toBe("full");
    expect(JSON.stringify(frontier.state()).length).toBeLessThan(MAX_WAITING_LENGTH + 12 * n + 1_000);
    const taken = frontier.take();
    expect(frontier.offer(long(n))).toBe("full");
    frontier.finish(taken ?? visit(""));
    expect(frontier.offer(long(n))).toBe("taken");
  });

  test("remembers so many, and says when it can remember no more", () => {
    const frontier = new Frontier(1);
    for (let n = 0; n < MAX_SEEN; n++) {
      frontier.offer(visit(`/${n}`));
      frontier.finish(frontier.take() ?? visit(""));
    }
    expect(frontier.isExhausted).toBe(true);
    expect([frontier.offer(visit("/new")), frontier.offer(visit("/0"))]).toEqual(["full", "seen"]);
    expect(JSON.stringify(frontier.state()).length).toBeLessThan(8 * MAX_SEEN + 100);
  });
});

/** What may be done to a frontier. */
const action = fc.oneof(
  fc.record({ is: fc.constant("offer" as const), n: fc.nat(30), depth: fc.nat(4) }),
  fc.record({
    is: fc.constantFrom("take" as const, "finish" as const, "giveBack" as const, "restart" as const),
  }),
);

test("whatever happens, no address is visited again after it was finished, and none is lost", () => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 100 }), (actions) => {
      let frontier = new Frontier(3);
      let underWay: Visit[] = [];
      const accepted = new Set<string>();
      const finished = new Set<string>();
      for (const one of actions) {
        if (one.is === "offer") {
          const isNew = !accepted.has(`/${one.n}`);
          const offer = frontier.offer(visit(`/${one.n}`, one.depth));
          expect(offer).toBe(one.depth > 3 ? "deep" : isNew ? "taken" : "seen");
          if (offer === "taken") accepted.add(`/${one.n}`);
        } else if (one.is === "take") {
          const next = frontier.take();
          if (next) underWay.push(next);
          expect(finished.has(next?.address ?? "")).toBe(false);
        } else if (one.is === "restart") {
          frontier = new Frontier(3, JSON.parse(JSON.stringify(frontier.state())));
          underWay = [];
        } else {
          const [first, ...others] = underWay;
          if (!first) continue;
          underWay = others;
          frontier[one.is](first);
          if (one.is === "finish") finished.add(first.address);
        }
      }
      const left = [...underWay, ...takeAll(frontier)].map(({ address }) => address);
      expect(new Set([...left, ...finished])).toEqual(accepted);
      expect(left.length + finished.size).toBe(accepted.size);
    }),
    { numRuns: 100 },
  );
});

test("a set of hashes is kept as text, and forgets what is deleted", () => {
  const set = new HashSet();
  expect([set.add("a"), set.add("b"), set.add("a")]).toEqual([true, true, false]);
  set.delete("a");
  const again = new HashSet(set.text);
  expect([again.size, again.has("a"), again.has("b")]).toEqual([1, false, true]);
});
