/** What an object counts: kept while it is read, and free while it is not. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { KeptTally } from "../../src/kernel/kept-tally.ts";

const MINUTE_MS = 60_000;

/** The storage of an object, and how often something was written to it. */
function storage() {
  const values = new Map<string, unknown>();
  let writes = 0;
  const kv = {
    get: (key: string) => structuredClone(values.get(key)),
    put: (key: string, value: unknown) => {
      writes++;
      values.set(key, structuredClone(value));
    },
  } as unknown as DurableObjectStorage["kv"];
  return { kv, writes: () => writes };
}

beforeEach(() => void vi.useFakeTimers({ now: 1e12 }));
afterEach(() => void vi.useRealTimers());

const read = (tally: KeptTally) => tally.read(Date.now());

test("nothing is written as long as nobody reads it", () => {
  const stored = storage();
  const tally = new KeptTally(stored);
  for (let n = 0; n < 100; n++) tally.add("a");
  vi.advanceTimersByTime(60 * MINUTE_MS);
  expect(stored.writes()).toBe(0);
  expect(read(tally)).toEqual({ a: 100 });
});

test("once it is read, whatever is counted within five seconds is one write, which outlives the object", () => {
  const stored = storage();
  const tally = new KeptTally(stored);
  read(tally);
  const before = stored.writes();
  for (let n = 0; n < 100; n++) tally.add("a");
  tally.addDuration("wait", 30);
  expect(read(new KeptTally(stored))).toEqual({});
  vi.advanceTimersByTime(5_000);
  expect(stored.writes()).toBe(before + 1);
  expect(read(new KeptTally(stored))).toEqual({ a: 100, "wait|2": 1, "wait|sum": 0.03 });
});

test("a restart goes on where it was", () => {
  const stored = storage();
  read(new KeptTally(stored));
  for (let n = 0; n < 3; n++) {
    new KeptTally(stored).add("a", 2);
    vi.advanceTimersByTime(5_000);
  }
  expect(read(new KeptTally(stored))).toEqual({ a: 6 });
});

test("readings alone are written every five minutes, so that it stays known that there are some", () => {
  const stored = storage();
  for (let n = 0; n < 60; n++) {
    read(new KeptTally(stored));
    vi.advanceTimersByTime(MINUTE_MS / 2);
  }
  expect(stored.writes()).toBe(6);
});

test("when nobody has read it for a quarter of an hour, nothing is written any longer", () => {
  const stored = storage();
  read(new KeptTally(stored));
  vi.advanceTimersByTime(15 * MINUTE_MS);
  const before = stored.writes();
  const tally = new KeptTally(stored);
  tally.add("a");
  vi.advanceTimersByTime(MINUTE_MS);
  expect(stored.writes()).toBe(before);
  expect(tally.isReadAt(Date.now())).toBe(false);
  expect(read(tally)).toEqual({ a: 1 });
});

test("up to where rows were counted is kept together with the counts", () => {
  const stored = storage();
  const tally = new KeptTally(stored);
  read(tally);
  tally.countedUntilMs = 7;
  tally.add("a");
  expect(new KeptTally(stored).countedUntilMs).toBe(0);
  tally.save();
  const after = new KeptTally(stored);
  expect([after.countedUntilMs, read(after)]).toEqual([7, { a: 1 }]);
});
