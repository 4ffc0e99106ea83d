/** Calls to objects: what is repeated, what is not, and when it ends. */

import { env } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { callObject, lacksMethod, objectNamed, RESTART_PAUSES_MS } from "../../src/kernel/objects.ts";
import { Problem } from "../../src/kernel/problem.ts";
import { ConfigurationError } from "../../src/kernel/variables.ts";

let pausesMs: number[] = [];
beforeEach(() => {
  pausesMs = [];
  vi.spyOn(scheduler, "wait").mockImplementation(async (ms) => void pausesMs.push(ms));
});
afterEach(() => vi.restoreAllMocks());

/** A call that fails `failures` times, then returns how often it was made. */
function flaky(failures: number, flags: object = {}) {
  let calls = 0;
  return async () => {
    if (++calls <= failures) throw Object.assign(new Error(`failure ${calls}`), flags);
    return calls;
  };
}

describe("a call to an object", () => {
  test.each([0, 1, RESTART_PAUSES_MS.length])("succeeds after %i restarts", async (failures) => {
    expect(await callObject(flaky(failures, { durableObjectReset: true }))).toBe(failures + 1);
    expect(pausesMs).toHaveLength(failures);
    for (const [i, ms] of pausesMs.entries()) {
      expect(ms).toBeGreaterThanOrEqual((RESTART_PAUSES_MS[i] ?? 0) / 2);
      expect(ms).toBeLessThanOrEqual((RESTART_PAUSES_MS[i] ?? 0) * 1.5);
    }
  });

  test.each([
    ["whose object stays away", {}, `failure ${RESTART_PAUSES_MS.length + 1}`],
    ["whose object is overloaded", { overloaded: true, retryable: true }, "failure 1"],
    ["whose object's own code throws", { remote: true }, "failure 1"],
    // The runtime has tried it five times already.
    ["that the runtime has repeated", { retryable: true }, "failure 2"],
  ])("%s fails as often as it may be made", async (_, flags, last) => {
    await expect(callObject(flaky(99, flags))).rejects.toThrow(last);
  });

  test.each([{}, { retryable: true }])("that must not be repeated is made once (%o)", async (flags) => {
    await expect(callObject(flaky(99, flags), { mayRepeat: false })).rejects.toThrow("failure 1");
  });

  test("is not repeated when the caller's side gives the reason", async () => {
    const call = vi.fn(async () => Promise.reject(new Problem("client-gone", "gone")));
    await expect(callObject(call)).rejects.toThrow("gone");
    expect(call).toHaveBeenCalledTimes(1);
  });

  test("ends at its deadline, also if the object never responds", async () => {
    const startedAtMs = Date.now();
    const call = vi.fn(async () => new Promise<never>(() => {}));
    await expect(callObject(call, { deadlineMs: 100 })).rejects.toThrow("within 100 ms");
    expect(Date.now() - startedAtMs).toBeLessThan(2_000);
    expect(call).toHaveBeenCalledTimes(1);
  });

  test("that keeps the deadline itself is told when it is, and is repeated like any other", async () => {
    vi.spyOn(scheduler, "wait").mockResolvedValue();
    const timer = vi.spyOn(globalThis, "setTimeout");
    const times: number[] = [];
    const untilMs = Date.now() + 1_000;
    const call = async (givenMs: number) => {
      times.push(givenMs);
      if (times.length === 1) throw Object.assign(new Error("reset"), { durableObjectReset: true });
      return "done";
    };
    expect(await callObject(call, { deadlineMs: 1_000, keepsDeadline: true })).toBe("done");
    expect([times.length, new Set(times).size, timer.mock.calls]).toEqual([2, 1, []]);
    expect(times[0]).toBeGreaterThanOrEqual(untilMs);
  });

  test("is not repeated if the deadline would pass first", async () => {
    await expect(callObject(flaky(99), { deadlineMs: 45 })).rejects.toThrow("failure 2");
  });
});

test("a method that the object's version lacks is told from other failures", () => {
  const missing = new TypeError('The RPC receiver does not implement the method "tend".');
  expect([lacksMethod(missing), lacksMethod(new TypeError("x")), lacksMethod("x")]).toEqual([
    true,
    false,
    false,
  ]);
});

describe("a stub", () => {
  const options: unknown[] = [];
  const namespace = {
    getByName: (...args: unknown[]) => options.push(args),
    jurisdiction: (where: string) => ({ getByName: (...args: unknown[]) => options.push([where, ...args]) }),
  };
  const stub = (variables: object, hint?: "me") => {
    options.length = 0;
    const own: Env = Object.assign({}, env, { SEMAPHORE: namespace }, variables);
    objectNamed(own, "SEMAPHORE", "a", { hint });
    return options[0];
  };

  test.each([
    ["near its first caller", {}, undefined, ["a", {}]],
    ["near LOCATION_HINT", { LOCATION_HINT: "weur" }, undefined, ["a", { locationHint: "weur" }]],
    ["where it must be itself", { LOCATION_HINT: "weur" }, "me" as const, ["a", { locationHint: "me" }]],
    ["in JURISDICTION", { JURISDICTION: "eu" }, undefined, ["eu", "a", {}]],
    [
      "in both",
      { JURISDICTION: "us", LOCATION_HINT: "wnam" },
      undefined,
      ["us", "a", { locationHint: "wnam" }],
    ],
  ])("is of an object that lives %s", (_, variables, hint, expected) => {
    expect(stub(variables, hint)).toEqual(expected);
  });

  test.each([{ JURISDICTION: "mars" }, { LOCATION_HINT: "here" }])("is refused for %o", (variables) => {
    expect(() => stub(variables)).toThrow(ConfigurationError);
  });
});
