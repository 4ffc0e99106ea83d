import { array, assert, asyncProperty, constantFrom, integer, record } from "fast-check";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { GroupedCalls, PATIENCE_MS } from "../../src/kernel/grouped-calls.ts";
import { ObjectTimeoutError } from "../../src/kernel/objects.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date", "setTimeout", "clearTimeout"] });
  return () => void vi.useRealTimers();
});

const PATIENT_MS = 10_000;

const pass = async (ms = 0) => vi.advanceTimersByTimeAsync(ms);

/** A receiver whose replies the test gives one by one, and what each call carries. */
function receiver() {
  const carried: string[][] = [];
  const replies: PromiseWithResolvers<string[]>[] = [];
  const grouped = new GroupedCalls<string, string>(async (cargo) => {
    carried.push(cargo);
    const reply = Promise.withResolvers<string[]>();
    replies.push(reply);
    return reply.promise;
  });
  /** Sends, and notes what becomes of it. */
  const send = (cargo: string, weight = 1) => {
    const sent: { outcome?: string; error?: unknown } = {};
    grouped.send(cargo, weight, Date.now() + PATIENT_MS).then(
      (outcome) => Object.assign(sent, { outcome }),
      (error: unknown) => Object.assign(sent, { error }),
    );
    return sent;
  };
  const reply = async (call: number) => {
    replies[call]?.resolve((carried[call] ?? []).map((cargo) => cargo.toUpperCase()));
    await pass();
  };
  const fail = async (call: number, error: Error) => {
    replies[call]?.reject(error);
    await pass();
  };
  return { carried, send, reply, fail };
}

describe("what is sent", () => {
  test("alone goes at once", async () => {
    const { carried, send, reply } = receiver();
    const a = send("a");
    expect(carried).toEqual([["a"]]);
    await reply(0);
    expect(a).toEqual({ outcome: "A" });
    send("b");
    expect(carried).toEqual([["a"], ["b"]]);
  });

  test("during a call waits, and travels together in the next one; each gets its own outcome", async () => {
    const { carried, send, reply } = receiver();
    const [a, b, c] = ["a", "b", "c"].map((cargo) => send(cargo));
    await pass(PATIENCE_MS - 1);
    expect(carried).toEqual([["a"]]);
    await reply(0);
    expect([carried, a, b, c]).toEqual([[["a"], ["b", "c"]], { outcome: "A" }, {}, {}]);
    const d = send("d");
    await reply(1);
    await reply(2);
    expect(carried).toEqual([["a"], ["b", "c"], ["d"]]);
    expect([b, c, d]).toEqual([{ outcome: "B" }, { outcome: "C" }, { outcome: "D" }]);
  });

  test("in a call that fails gets its error, and what waits does not", async () => {
    const { carried, send, reply, fail } = receiver();
    const sent = ["a", "b", "c"].map((cargo) => send(cargo));
    await reply(0);
    const d = send("d");
    const error = new Error("the object restarts");
    await fail(1, error);
    expect(sent).toEqual([{ outcome: "A" }, { error }, { error }]);
    expect(carried[2]).toEqual(["d"]);
    await reply(2);
    expect(d).toEqual({ outcome: "D" });
  });

  test("is not failed by a carrier whose own allowance is used up", async () => {
    const { carried, send, reply, fail } = receiver();
    const sent = ["a", "b", "c"].map((cargo) => send(cargo));
    await reply(0);
    const error = new Error("Too many subrequests by single Worker invocation.");
    await fail(1, error);
    expect(carried[2]).toEqual(["c"]);
    await reply(2);
    expect(sent).toEqual([{ outcome: "A" }, { error }, { outcome: "C" }]);
  });

  test("is divided if it is too much for one call; what is too much alone goes alone", async () => {
    const { carried, send, reply } = receiver();
    send("a");
    for (const [cargo, weight] of [
      ["b", 1_500_000],
      ["c", 600_000],
      ["d", 9_000_000],
      ["e", 1],
    ] as const)
      send(cargo, weight);
    for (let call = 0; call < 4; call++) await reply(call);
    expect(carried).toEqual([["a"], ["b", "e"], ["c"], ["d"]]);
  });
});

describe("when a carrier dies", () => {
  test("what it carried and what waits is sent again, by one of them", async () => {
    const { carried, send, reply } = receiver();
    const sent = ["a", "b", "c"].map((cargo) => send(cargo));
    await reply(0);
    const d = send("d");
    await pass(PATIENCE_MS - 1);
    expect(carried).toEqual([["a"], ["b", "c"]]);
    await pass(1);
    expect(carried).toHaveLength(3);
    expect(carried[2]?.toSorted()).toEqual(["b", "c", "d"]);
    await reply(2);
    expect([...sent, d]).toEqual(["A", "B", "C", "D"].map((outcome) => ({ outcome })));
  });

  test("and was only slow, its reply still counts", async () => {
    const { carried, send, reply } = receiver();
    const [a, b] = [send("a"), send("b")];
    await pass(PATIENCE_MS);
    expect(carried).toEqual([["a"], ["a", "b"]]);
    await reply(0);
    expect([a, b]).toEqual([{ outcome: "A" }, {}]);
    await reply(1);
    expect(b).toEqual({ outcome: "B" });
    expect(carried).toHaveLength(2);
  });
});

test("calls are few while the receiver does not reply, and what nobody waits for is not sent for ever", async () => {
  const { carried, send } = receiver();
  for (let i = 0; i < 40; i++) send(`p${i}`);
  await pass(20_000);
  expect(carried.length).toBeLessThanOrEqual(20_000 / PATIENCE_MS + 40);
  const before = carried.length;
  send("late");
  expect(carried.slice(before)).toEqual([["late"]]);
});

test("what gets no reply is given up at its time, and is sent to nobody any more", async () => {
  const { carried, send } = receiver();
  const a = send("a");
  await pass(PATIENT_MS - 1);
  expect(a).toEqual({});
  await pass(1);
  expect(a).toEqual({ error: expect.any(ObjectTimeoutError) });
  const before = carried.length;
  await pass(PATIENCE_MS);
  send("b");
  expect(carried.slice(before)).toEqual([["b"]]);
});

test("whatever dies or fails, all that is sent ends, with its own outcome, and soon", async () => {
  const call = record({
    ms: integer({ min: 1, max: 400 }),
    ends: constantFrom("reply", "reply", "reply", "fail", "die"),
  });
  const plan = record({
    arrivalsMs: array(integer({ min: 0, max: 3_000 }), { minLength: 1, maxLength: 30 }),
    calls: array(call, { minLength: 1, maxLength: 10 }),
  });
  await assert(
    asyncProperty(plan, async ({ arrivalsMs, calls }) => {
      let [made, deaths] = [0, 0];
      const grouped = new GroupedCalls<number, number>(async (cargo) => {
        expect(new Set(cargo).size).toBe(cargo.length);
        const { ms, ends } = calls[made++ % calls.length] ?? { ms: 1, ends: "reply" };
        // Not for ever.
        if (ends === "die" && ++deaths <= 3) return new Promise(() => {});
        await new Promise((resolve) => setTimeout(resolve, ms));
        if (ends === "fail") throw new Error("failed");
        return cargo.map((n) => n * 2);
      });
      const ended = arrivalsMs.map(async (atMs, n) => {
        await new Promise((resolve) => setTimeout(resolve, atMs));
        const beganAtMs = Date.now();
        const outcome = await grouped
          .send(n, 1, Date.now() + PATIENT_MS)
          .catch((error: Error) => error.message);
        expect(outcome).toBeOneOf([n * 2, "failed"]);
        expect(Date.now() - beganAtMs).toBeLessThanOrEqual(5 * PATIENCE_MS);
      });
      let haveEnded = false;
      const all = Promise.all(ended).then(() => (haveEnded = true));
      await pass(20_000);
      expect(haveEnded).toBe(true);
      await all;
    }),
    { numRuns: 40 },
  );
});
