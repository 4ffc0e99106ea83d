/** The circuit breaker, step by step. It never stays open for good. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Breaker } from "../../../src/outbound/semaphore/breaker.ts";

/** A breaker that has seen these calls end, all at 0: `.` succeeded, `x` failed, `?` is unknown. */
function after(calls: string): Breaker {
  const breaker = new Breaker();
  for (const [n, call] of calls.split("").entries()) {
    breaker.onGrant(`call-${n}`);
    breaker.onEnd(`call-${n}`, call === "?" ? undefined : call === "x", 0);
  }
  return breaker;
}

/** A probe that is granted and ends at `nowMs`. Returns true if it closed the breaker. */
function probe(breaker: Breaker, failed: boolean | undefined, nowMs: number): boolean {
  breaker.onGrant("probe");
  return breaker.onEnd("probe", failed, nowMs);
}

describe("it opens when half of the latest calls have failed, and there were at least ten", () => {
  test.each([
    ["", "closed"],
    ["xxxxxxxxx", "closed"],
    ["xxxxxxxxxx", "open"],
    [".....xxxxx", "open"],
    ["......xxxx", "closed"],
    ["x.x.x.x.x.", "open"],
    ["?????xxxxx", "closed"],
    ["????????????????????.....xxxxx", "open"],
    [".".repeat(100), "closed"],
    // Ten of the last twenty.
    [`${".".repeat(100)}xxxxxxxxx`, "closed"],
    [`${".".repeat(100)}xxxxxxxxxx`, "open"],
    [`xxxx${".".repeat(16)}xxxxx`, "closed"],
  ])("%s: %s", (calls, phase) => {
    expect(after(calls).phaseAt(1)).toBe(phase);
  });
});

describe("once open", () => {
  test("it is half-open after two seconds, to the millisecond", () => {
    const breaker = after("xxxxxxxxxx");
    expect([breaker.phaseAt(1999), breaker.phaseAt(2000)]).toEqual(["open", "half-open"]);
  });

  test("calls that were in flight when it opened change nothing", () => {
    const breaker = after("xxxxxxxxxx");
    for (let n = 0; n < 30; n++) expect(breaker.onEnd(`before-${n}`, false, 100)).toBe(false);
    expect(breaker.phaseAt(100)).toBe("open");
    for (let n = 0; n < 30; n++) breaker.onEnd(`before-${n}`, true, 2500);
    expect(breaker.phaseAt(2500)).toBe("half-open");
  });

  test("it has a probe from its grant to its end", () => {
    const breaker = after("xxxxxxxxxx");
    expect(breaker.hasProbe).toBe(false);
    breaker.onGrant("probe");
    expect(breaker.hasProbe).toBe(true);
    breaker.onEnd("before", true, 2000);
    expect(breaker.hasProbe).toBe(true);
    breaker.onEnd("probe", undefined, 2100);
    expect(breaker.hasProbe).toBe(false);
  });

  test("a probe that succeeds closes it, and earlier failures no longer count", () => {
    const breaker = after("xxxxxxxxxx");
    expect(probe(breaker, false, 2000)).toBe(true);
    expect([breaker.phaseAt(2000), breaker.hasProbe]).toEqual(["closed", false]);
    for (let n = 0; n < 9; n++) breaker.onEnd(`later-${n}`, true, 2001);
    expect(breaker.phaseAt(2001)).toBe("closed");
    breaker.onEnd("later-9", true, 2001);
    expect(breaker.phaseAt(2001)).toBe("open");
  });

  test("a probe that fails opens it again, twice as long each time, up to a minute", () => {
    const breaker = after("xxxxxxxxxx");
    let nowMs = breaker.state.reopensAtMs;
    const openForMs = [4000, 8000, 16_000, 32_000, 60_000, 60_000];
    for (const expectedMs of openForMs) {
      expect(probe(breaker, true, nowMs)).toBe(false);
      expect([breaker.phaseAt(nowMs + expectedMs - 1), breaker.phaseAt(nowMs + expectedMs)]).toEqual([
        "open",
        "half-open",
      ]);
      nowMs += expectedMs;
    }
  });

  test("it knows its probe, until that has ended", () => {
    const breaker = after("xxxxxxxxxx");
    breaker.onGrant("probe");
    expect([breaker.isProbe("probe"), breaker.isProbe("call-1")]).toEqual([true, false]);
    breaker.onEnd("probe", false, 2000);
    breaker.onGrant("later");
    expect([breaker.isProbe("probe"), breaker.isProbe("later")]).toEqual([false, false]);
  });

  test("a probe with an unknown outcome leaves it half-open for another", () => {
    const breaker = after("xxxxxxxxxx");
    expect(probe(breaker, undefined, 2000)).toBe(false);
    expect(breaker.phaseAt(2000)).toBe("half-open");
    expect(probe(breaker, false, 2001)).toBe(true);
  });

  test("after it has closed, it first opens for two seconds again", () => {
    const breaker = after("xxxxxxxxxx");
    probe(breaker, true, 2000);
    probe(breaker, false, 6000);
    for (let n = 0; n < 10; n++) breaker.onEnd(`later-${n}`, true, 6000);
    expect([breaker.phaseAt(7999), breaker.phaseAt(8000)]).toEqual(["open", "half-open"]);
  });

  test("it stays open over a restart; a probe that was lost is forgotten", () => {
    const breaker = after("xxxxxxxxxx");
    breaker.onGrant("probe");
    const restarted = new Breaker(structuredClone(breaker.state));
    expect([restarted.phaseAt(1999), restarted.phaseAt(2000), restarted.hasProbe]).toEqual([
      "open",
      "half-open",
      false,
    ]);
    expect(probe(restarted, true, 2000)).toBe(false);
    expect(restarted.phaseAt(2000 + 3999)).toBe("open");
  });
});

test("whatever happens, the next probe is never more than a minute away", () => {
  const event = fc.record({
    failed: fc.option(fc.boolean(), { nil: undefined }),
    gapMs: fc.nat({ max: 100_000 }),
  });
  fc.assert(
    fc.property(fc.array(event, { maxLength: 100 }), (events) => {
      const breaker = new Breaker();
      let nowMs = 0;
      for (const { failed, gapMs } of events) {
        nowMs += gapMs;
        if (breaker.phaseAt(nowMs) !== "open") breaker.onGrant("call");
        breaker.onEnd("call", failed, nowMs);
        expect(breaker.phaseAt(nowMs + 60_000)).not.toBe("open");
      }
    }),
  );
});

test("its state is a new object if and only if something in it has changed", () => {
  const breaker = after("xxxxxxxxx");
  const closed = breaker.state;
  breaker.onGrant("a");
  breaker.onEnd("a", undefined, 0);
  expect(breaker.state).toBe(closed);
  breaker.onEnd("a", true, 0);
  const open = breaker.state;
  expect(open).not.toBe(closed);
  breaker.onGrant("probe");
  expect(breaker.state).toEqual({ ...open, probe: "probe" });
  breaker.onEnd("probe", true, 2000);
  expect(breaker.state).not.toBe(open);
});

describe("an idle object forgets everything but its state", () => {
  /** A breaker that is restarted after each of these calls. */
  function withRestarts(calls: string): Breaker {
    let breaker = new Breaker();
    for (const [n, call] of calls.split("").entries()) {
      breaker = new Breaker(JSON.parse(JSON.stringify(breaker.state)));
      breaker.onEnd(`call-${n}`, call === "?" ? undefined : call === "x", 0);
    }
    return breaker;
  }

  test.each([
    ["xxxxxxxxx", "closed"],
    ["xxxxxxxxxx", "open"],
    ["xxxxx.....", "open"],
    ["x.?x.x?.x.x.", "open"],
    ["x...x...x...x...x...", "closed"],
    [`${".".repeat(100)}xxxxxxxxx`, "closed"],
    [`xxxx${".".repeat(16)}xxxxx`, "closed"],
  ])("with a restart after each call, %s: %s", (calls, phase) => {
    expect(withRestarts(calls).phaseAt(1)).toBe(phase);
  });

  test("calls that succeed change nothing in it, unless a failure is among the latest twenty", () => {
    const breaker = after(".".repeat(30));
    const healthy = breaker.state;
    breaker.onEnd("a", false, 0);
    expect(breaker.state).toBe(healthy);
    breaker.onEnd("b", true, 0);
    expect(breaker.state.failures?.filter(Boolean)).toHaveLength(1);
    for (let n = 0; n < 19; n++) breaker.onEnd(`later-${n}`, false, 0);
    expect(breaker.state.failures).toHaveLength(20);
    breaker.onEnd("last", false, 0);
    const recovered = breaker.state;
    expect(recovered.failures).toEqual([]);
    breaker.onEnd("more", false, 0);
    expect(breaker.state).toBe(recovered);
  });

  test("a restart alone changes nothing in it, nor in one that an earlier version has written", () => {
    const state = { isOpen: false, reopensAtMs: 0, openForMs: 0, probe: null };
    const restarted = new Breaker(state);
    restarted.onEnd("a", false, 0);
    expect(restarted.state).toBe(state);
  });
});

test("a probe whose permit is still held survives a restart: there is no second one", () => {
  const before = after("xxxxxxxxxx");
  before.onGrant("probe");
  expect(new Breaker(before.state, (id) => id === "probe").hasProbe).toBe(true);
  expect(new Breaker(before.state, () => false).hasProbe).toBe(false);
});
