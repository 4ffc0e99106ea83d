/** When a call tries another shard. */
import { describe, expect, test } from "vitest";
import { Problem, type ProblemKind } from "../../../src/kernel/problem.ts";
import { atBetterOfTwo } from "../../../src/outbound/client/better-of-two.ts";
import { ShardLoads } from "../../../src/outbound/client/shard-loads.ts";

const loadsOf = (shards: number) => new ShardLoads(Array.from({ length: shards }, () => 5));

/** Makes a call that fails so at the shards that are named. Returns where it went, and what came of it. */
async function callWith(
  failures: Record<number, ProblemKind>,
  loads = loadsOf(4),
  onAsk: (shard: number) => void = () => {},
) {
  const asked: number[] = [];
  const ask = async (shard: number) => {
    asked.push(shard);
    onAsk(shard);
    const kind = failures[shard];
    if (kind) throw new Problem(kind, "It is a test.");
    return shard;
  };
  const came = await atBetterOfTwo(loads, ask, () => 0).then(
    () => "granted",
    (error: unknown) => (error instanceof Problem ? error.kind : error),
  );
  return { asked, came };
}

test("goes to one shard, if that grants it", async () => {
  expect(await callWith({})).toEqual({ asked: [0], came: "granted" });
});

test.each<ProblemKind>(["queue-full", "too-many-requests", "semaphore-unavailable"])(
  "%s: goes to another, once",
  async (kind) => {
    expect(await callWith({ 0: kind })).toEqual({ asked: [0, 1], came: "granted" });
    expect(await callWith({ 0: kind, 1: kind, 2: kind })).toEqual({ asked: [0, 1], came: kind });
  },
);

test.each<ProblemKind>(["paused", "breaker-open", "wait-limit", "client-gone"])(
  "%s: goes nowhere else",
  async (kind) => {
    expect(await callWith({ 0: kind })).toEqual({ asked: [0], came: kind });
  },
);

test("with one shard, there is no other", async () => {
  expect(await callWith({ 0: "queue-full" }, loadsOf(1))).toEqual({ asked: [0], came: "queue-full" });
});

test("a shard that does not respond is not drawn again soon", async () => {
  const loads = loadsOf(2);
  await callWith({ 0: "semaphore-unavailable" }, loads);
  expect(await callWith({}, loads)).toEqual({ asked: [1], came: "granted" });
});

describe("shards without permits", () => {
  test("do not count as tried: the call finds the one that has some", async () => {
    const loads = loadsOf(64);
    const none = Object.fromEntries(Array.from({ length: 63 }, (_, i) => [i + 1, "queue-full"] as const));
    loads.avoid(0, Date.now() + 60_000); // the last to be chosen
    const hear = (shard: number) => {
      if (shard > 0) loads.hear(shard, loads.send(shard), { permits: 0, calls: 0 }, Date.now());
    };
    const { asked, came } = await callWith(none, loads, hear);
    expect([came, asked.at(-1)]).toEqual(["granted", 0]);
    expect(asked.length).toBeLessThanOrEqual(3);
    expect(await callWith(none, loads, hear)).toEqual({ asked: [0], came: "granted" });
  });
});
