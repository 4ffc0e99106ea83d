import { expect, test } from "vitest";
import {
  addSample,
  BUCKETS,
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

test("the longest wait of a bucket is its wait", () => {
  const samples = [sample(4, 0, { waitMs: 500 }), sample(3, 0, { waitMs: 2_000 }), sample(2, 0)];
  expect(ratesOf(samples, NOW_MS).waitSeconds.slice(-2)).toEqual([undefined, 2]);
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
