import * as fc from "fast-check";
import { expect, test } from "vitest";
import {
  addSample,
  BUCKETS,
  quantile,
  ratesOf,
  type Sample,
  WINDOW_MS,
} from "../../../../src/dashboard/page/lib/rates.ts";

const BUCKET_MS = WINDOW_MS / BUCKETS;
const NOW_MS = BUCKET_MS * 1_000;
const sample = (secondsAgo: number, granted: number, more: Partial<Sample> = {}): Sample => ({
  atMs: NOW_MS - secondsAgo * 1_000,
  since: "2026-01-01T00:00:00.000Z",
  granted,
  errors: 0,
  waitMs: 0,
  waits: [],
  ...more,
});
const lastOf = (samples: Sample[], count: number) => ratesOf(samples, NOW_MS).callsPerSecond.slice(-count);

test("a total that grows by ten a second is ten calls a second, however often it is read", () => {
  const often = Array.from({ length: 11 }, (_, i) => sample(10 - i, i * 10));
  const rarely = [sample(10, 0), sample(7.5, 25), sample(0, 100)];
  for (const samples of [often, rarely]) expect(lastOf(samples, 2)).toEqual([10, 10]);
});

test("where nothing was read, nothing is known; where nothing happened, there were none", () => {
  expect(lastOf([sample(10, 7), sample(5, 7)], 3)).toEqual([undefined, 0, undefined]);
});

test("totals that begin anew with a restart are not compared with those before", () => {
  const after = { since: "2026-01-01T01:00:00.000Z" };
  expect(lastOf([sample(6, 900), sample(5, 905), sample(4, 1, after), sample(3, 3, after)], 1)).toEqual([2]);
});

test("totals that are lower than before, such as those of an older status, are not compared with those before", () => {
  expect(lastOf([sample(5, 10), sample(4, 3), sample(3, 5)], 1)).toEqual([2]);
  const errors = [sample(5, 10, { errors: 4 }), sample(0, 10, { errors: 1 })];
  expect(ratesOf(errors, NOW_MS).errorsPerSecond.at(-1)).toBeUndefined();
  const waits = [sample(5, 10, { waits: [9, 1] }), sample(0, 12, { waits: [8, 4] })];
  expect(ratesOf(waits, NOW_MS).waitP50Seconds.at(-1)).toBeUndefined();
});

test("statuses in any order give series that can be drawn: every value is a number, none is negative", () => {
  const few = fc.nat({ max: 5 });
  const status = fc.record({
    gap: fc.nat({ max: 40 }),
    granted: few,
    errors: few,
    waits: fc.array(few, { maxLength: 13 }),
  });
  fc.assert(
    fc.property(fc.array(status, { maxLength: 30 }), (statuses) => {
      let secondsAgo = 300;
      const samples = statuses.reduce<Sample[]>((all, { gap, granted, ...more }) => {
        secondsAgo -= gap;
        return addSample(all, sample(secondsAgo, granted, more));
      }, []);
      for (const value of Object.values(ratesOf(samples, NOW_MS)).flat())
        if (value !== undefined) expect(Number.isFinite(value) && value >= 0).toBe(true);
    }),
  );
});

test("the longest wait of a bucket is its wait", () => {
  const samples = [sample(4, 0, { waitMs: 500 }), sample(3, 0, { waitMs: 2_000 }), sample(2, 0)];
  expect(ratesOf(samples, NOW_MS).waitSeconds.slice(-2)).toEqual([undefined, 2]);
});

test("the waits of a bucket are those of the calls that got a permit in it", () => {
  // All have waited up to 10 ms before, then nine up to 10 ms and one up to 1 s.
  const samples = [
    sample(10, 0, { waits: [100, 0, 0, 0, 0] }),
    sample(5, 0, { waits: [100, 0, 0, 0, 0] }),
    sample(0, 0, { waits: [109, 0, 0, 0, 1] }),
  ];
  const { waitP50Seconds, waitP99Seconds } = ratesOf(samples, NOW_MS);
  expect(waitP50Seconds.at(-2)).toBeUndefined();
  expect(waitP50Seconds.at(-1)).toBeLessThanOrEqual(0.01);
  expect(waitP99Seconds.at(-1)).toBeGreaterThan(0.25);
  expect(waitP99Seconds.at(-1)).toBeLessThanOrEqual(1);
});

test("an object that does not count waits has none", () => {
  const { waitP99Seconds } = ratesOf([sample(5, 0), sample(0, 50)], NOW_MS);
  expect(waitP99Seconds.filter((value) => value !== undefined)).toEqual([]);
});

test.each([
  [[], 0.5, undefined],
  [[4], 0.5, 0.005],
  [[1, 1], 0.5, 0.01],
  [[0, 0, 0, 2], 0.5, 0.175],
  [[...Array.from({ length: 12 }, () => 0), 3], 0.5, 7200],
])("of waits in buckets %j, the quantile %d is %s s", (counts, share, seconds) => {
  const found = quantile(counts, share);
  if (seconds === undefined) expect(found).toBeUndefined();
  else expect(found).toBeCloseTo(seconds, 6);
});

test("samples within a second are one, with the longer wait", () => {
  const at = (ms: number, waitMs: number) => ({ ...sample(0, ms), atMs: NOW_MS + ms, waitMs });
  const all = [at(0, 1), at(200, 9), at(400, 2), at(900, 3), at(1_100, 4)];
  const kept = all.reduce<Sample[]>(addSample, []);
  expect(kept.map(({ granted, waitMs }) => [granted, waitMs])).toEqual([
    [0, 1],
    [900, 9],
    [1_100, 4],
  ]);
});

test("samples are kept for the window, and no longer", () => {
  let samples: Sample[] = [];
  for (let ms = 0; ms <= 2 * WINDOW_MS; ms += 1_000)
    samples = addSample(samples, { ...sample(0, ms), atMs: NOW_MS + ms });
  expect(samples.length).toBeGreaterThan(WINDOW_MS / 1_000);
  expect(samples.length).toBeLessThanOrEqual((WINDOW_MS + BUCKET_MS) / 1_000 + 1);
  // A status that was read twice is one sample.
  const last = samples.at(-1);
  expect(last && addSample(samples, last)).toHaveLength(samples.length);
});
