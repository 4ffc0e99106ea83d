/** Turns among the calls of one invocation. */
import { expect, test } from "vitest";
import { asInvocation } from "../../../src/kernel/invocation.ts";
import { takeTurn } from "../../../src/outbound/client/turns.ts";

const never = () => new AbortController().signal;

/** Takes turns for one invocation. Returns the names of those that have one, as they get it. */
function arrive(names: string[], signalOf: (name: string) => AbortSignal = never) {
  const ctx = {};
  const begun: string[] = [];
  const ends = names.map(async (name) => {
    const end = await takeTurn(ctx, signalOf(name));
    begun.push(name);
    return end;
  });
  const end = async (at: number) => {
    (await ends[at])?.();
    await scheduler.wait(0);
  };
  return { begun, ends, end };
}

test("four at a time, and the rest in the order in which they came", async () => {
  const { begun, end } = arrive("abcdef".split(""));
  await scheduler.wait(0);
  expect(begun.join("")).toBe("abcd");
  await end(1);
  expect(begun.join("")).toBe("abcde");
  await end(0);
  expect(begun.join("")).toBe("abcdef");
});

test("a turn ends once", async () => {
  const { begun, end } = arrive("abcdef".split(""));
  await end(0);
  await end(0);
  expect(begun.join("")).toBe("abcde");
});

test("whoever stops waiting is passed over", async () => {
  const abort = new AbortController();
  const { begun, ends, end } = arrive("abcdef".split(""), (name) => (name === "e" ? abort.signal : never()));
  await scheduler.wait(0);
  abort.abort(new Error("gone"));
  await expect(ends[4]).rejects.toThrow("gone");
  await end(0);
  expect(begun.join("")).toBe("abcdf");
});

test("an abort that comes after the turn was given does not lose it", async () => {
  const abort = new AbortController();
  const { begun, ends } = arrive("abcdef".split(""), (name) => (name === "e" ? abort.signal : never()));
  (await ends[0])?.();
  abort.abort(new Error("gone"));
  (await ends[4])?.();
  await ends[5];
  expect(begun.join("")).toBe("abcdef");
});

test("each invocation has its own, and what follows from one shares them", async () => {
  const others = arrive("abcd".split(""));
  const [first, second] = asInvocation(() => [
    arrive("abc".split("")),
    asInvocation(() => arrive("def".split(""))),
  ]);
  await scheduler.wait(0);
  expect([others.begun, first?.begun, second?.begun].map((begun) => begun?.join(""))).toEqual([
    "abcd",
    "abc",
    "d",
  ]);
});
