/** How the figures of objects become metrics. */
import { expect, test } from "vitest";
import { durationKeys, type Figures } from "../../src/kernel/tally.ts";
import { render } from "../../src/metrics/exposition.ts";
import { toFamilies, upOf } from "../../src/metrics/families.ts";

const figures = (counts: Figures["counts"], gauges: Figures["gauges"] = {}): Figures => ({ counts, gauges });
const ledger = (name: string, of: Figures | undefined) => ({
  object: "ledger" as const,
  name,
  group: "",
  figures: of,
});
const semaphore = (group: string, name: string, of: Figures | undefined) => ({
  object: "semaphore" as const,
  name,
  group,
  figures: of,
});

/** The samples of a family, each as its line. */
const samplesOf = (name: string, readings: Parameters<typeof toFamilies>[0]) =>
  render(
    toFamilies(readings).filter((family) => family.name === name),
    "text",
  )
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));

test("counts of the same labels are added up over ledgers, and the oldest is the oldest of all", () => {
  const readings = [
    ledger("s0", figures({ "finished|a|failed": 2 }, { "oldest|a": 5 })),
    ledger("s1", figures({ "finished|a|failed": 3, "finished|b|failed": 1 }, { "oldest|a": 7 })),
  ];
  expect(samplesOf("sluice_tasks_finished", readings)).toEqual([
    'sluice_tasks_finished_total{type="a",outcome="failed"} 5',
    'sluice_tasks_finished_total{type="b",outcome="failed"} 1',
  ]);
  expect(samplesOf("sluice_task_oldest_queued_seconds", readings)).toEqual([
    'sluice_task_oldest_queued_seconds{type="a"} 7',
  ]);
});

test("a histogram has the durations of all, at the right bounds", () => {
  const durations = [9, 10, 11, 7_200_001];
  const counts: Record<string, number> = {};
  for (const ms of durations)
    for (const [key, by] of durationKeys("wait|a", ms)) counts[key] = (counts[key] ?? 0) + by;
  const lines = samplesOf("sluice_task_wait_seconds", [
    ledger("s0", figures(counts)),
    ledger("s1", figures(counts)),
  ]);
  expect(lines).toContain('sluice_task_wait_seconds_bucket{type="a",le="0.01"} 4');
  expect(lines).toContain('sluice_task_wait_seconds_bucket{type="a",le="0.025"} 6');
  expect(lines).toContain('sluice_task_wait_seconds_bucket{type="a",le="7200.0"} 6');
  expect(lines).toContain('sluice_task_wait_seconds_bucket{type="a",le="+Inf"} 8');
  expect(lines).toContain('sluice_task_wait_seconds_count{type="a"} 8');
});

test("a sum that lacks an object is left out, and no other; `sluice_object_up` says which it lacks", () => {
  const counted = figures({ granted: 4, "finished|a|failed": 2 }, { overdue: 1 });
  const readings = [
    ledger("s0", counted),
    ledger("s1", undefined),
    semaphore("whole", "whole", counted),
    semaphore("split", "split", counted),
    semaphore("split", "split#1", undefined),
  ];
  expect(samplesOf("sluice_tasks_finished", readings)).toEqual([]);
  expect(samplesOf("sluice_permits_granted", readings)).toEqual([
    'sluice_permits_granted_total{upstream="whole"} 4',
  ]);
  expect(samplesOf("sluice_object_overdue_seconds", readings)).toEqual([
    'sluice_object_overdue_seconds{object="ledger",name="s0"} 1',
  ]);
  expect(upOf(readings).samples).toEqual(
    readings.map(({ object, name, figures: of }) => ({ labels: { object, name }, value: of ? 1 : 0 })),
  );
});

test("what has few values is there as zero before it happens, so that its rate has a beginning", () => {
  expect(samplesOf("sluice_upstream_calls", [semaphore("a", "a", figures({ "calls|ok": 1 }))])).toEqual([
    'sluice_upstream_calls_total{upstream="a",outcome="ok"} 1',
    'sluice_upstream_calls_total{upstream="a",outcome="overloaded"} 0',
    'sluice_upstream_calls_total{upstream="a",outcome="failed"} 0',
    'sluice_upstream_calls_total{upstream="a",outcome="unknown"} 0',
  ]);
  expect(samplesOf("sluice_permits_granted", [semaphore("a", "a", figures({}))])).toEqual([
    'sluice_permits_granted_total{upstream="a"} 0',
  ]);
});

test("of the shards of an upstream, permits are added up, and a pause or an open breaker of any shows", () => {
  const readings = [
    semaphore(
      "api",
      "api#0",
      figures(
        { granted: 3, "pauses|upstream": 1 },
        { "in-use": 2, paused: 1, "breaker|open": 0, "breaker|closed": 1 },
      ),
    ),
    semaphore(
      "api",
      "api#1",
      figures(
        { granted: 4, "pauses|upstream": 1 },
        { "in-use": 1, paused: 0, "breaker|open": 1, "breaker|closed": 0 },
      ),
    ),
  ];
  const of = (name: string) => samplesOf(name, readings);
  expect(of("sluice_permits_in_use")).toEqual(['sluice_permits_in_use{upstream="api"} 3']);
  expect(of("sluice_permits_granted")).toEqual(['sluice_permits_granted_total{upstream="api"} 7']);
  expect(of("sluice_upstream_paused")).toEqual(['sluice_upstream_paused{upstream="api"} 1']);
  expect(of("sluice_upstream_pauses")).toContain(
    'sluice_upstream_pauses_total{upstream="api",by="upstream"} 1',
  );
  expect(of("sluice_breaker_state")).toEqual([
    'sluice_breaker_state{upstream="api",state="open"} 1',
    'sluice_breaker_state{upstream="api",state="closed"} 1',
  ]);
});
