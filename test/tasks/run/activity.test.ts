/** When a long sleep ends the run: only when nothing else of the context is under way. */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createContext } from "../../../src/tasks/run/context.ts";
import type { Interruption } from "../../../src/tasks/run/run.ts";
import { scriptedLedger, someId } from "../../support/background.ts";
import { keepQuiet } from "../../support/quiet.ts";

keepQuiet();

const T0 = Date.UTC(2100, 0, 1);
beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date", "setTimeout", "clearTimeout"], now: T0 });
  // The runtime's own timer follows the fake clock.
  vi.spyOn(scheduler, "wait").mockImplementation(async (ms, { signal } = {}) => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    signal?.addEventListener("abort", () => reject(new Error("aborted")));
    setTimeout(resolve, ms);
    return promise;
  });
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const pass = async (ms: number) => vi.advanceTimersByTimeAsync(ms);

function newRun(steps: Record<string, string> = {}, attempt = 1) {
  const { received, env } = scriptedLedger({});
  const interrupt = new AbortController();
  const { context, settle } = createContext({
    env,
    claim: { taskId: someId(), token: 1 },
    assignment: { type: "activity", input: "{}", attempt, attemptStartedAtMs: Date.now(), steps },
    platform: { waitUntil: () => undefined },
    interrupt,
  });
  const handedOverUntilMs = () =>
    interrupt.signal.aborted ? (interrupt.signal.reason as Interruption).notBeforeMs - T0 : undefined;
  return { context, settle, received, handedOverUntilMs };
}

/** A step that takes a while. */
const work =
  (ms: number, result: string = "done") =>
  async () =>
    new Promise<string>((resolve) => setTimeout(resolve, ms, result));

/** What became of a promise so far. */
function follow(promise: Promise<unknown>) {
  const seen: { value?: unknown; error?: unknown } = {};
  promise.then(
    (value) => (seen.value = value),
    (error: unknown) => (seen.error = error),
  );
  return seen;
}

describe("a long sleep", () => {
  test("that nothing is beside ends the run at once", async () => {
    const { context, handedOverUntilMs } = newRun();
    const sleep = follow(context.sleep(60_000));
    await pass(1);
    expect([handedOverUntilMs(), sleep.error]).toEqual([
      60_000,
      expect.objectContaining({ reason: "hand-over" }),
    ]);
  });

  test.each(["sleep first", "step first"])("beside a step does not cut it off (%s)", async (order) => {
    const { context, handedOverUntilMs, received } = newRun();
    const begin = [() => context.sleep(15_000), () => context.step("work", work(3_000))];
    if (order === "step first") begin.reverse();
    const both = follow(Promise.all(begin.map((each) => each())));
    await pass(3_001);
    expect(handedOverUntilMs()).toBeUndefined();
    expect(received.steps).toContainEqual(["work", '"done"']);
    await pass(12_100);
    expect(both.value).toEqual(expect.arrayContaining(["done"]));
    expect(handedOverUntilMs()).toBeUndefined();
  });

  test("that loses a race to a step does not stop what follows", async () => {
    const { context, handedOverUntilMs } = newRun();
    const code = follow(
      (async () => {
        const first = await Promise.race([context.step("work", work(3_000)), context.sleep(3_600_000)]);
        await work(5_000)(); // a fetch, of which the context knows nothing
        return `${String(first)}, ${await context.step("next", work(1_000, "next"))}`;
      })(),
    );
    await pass(9_100);
    expect([code.value, handedOverUntilMs()]).toEqual(["done, next", undefined]);
  });

  test("that had company ends the run when nothing has happened for ten seconds", async () => {
    const { context, handedOverUntilMs } = newRun();
    const both = follow(Promise.all([context.sleep(60_000), context.step("work", work(3_000))]));
    await pass(12_990);
    expect(handedOverUntilMs()).toBeUndefined();
    await pass(20);
    expect([handedOverUntilMs(), both.error]).toEqual([60_000, expect.anything()]);
  });

  test("that a step has outlasted goes on", async () => {
    const { context, handedOverUntilMs } = newRun();
    const both = follow(Promise.all([context.sleep(15_000), context.step("work", work(40_000))]));
    await pass(40_100);
    expect([both.value, handedOverUntilMs()]).toEqual([[undefined, "done"], undefined]);
  });

  test("within a step does not cut that step off", async () => {
    const { context, handedOverUntilMs } = newRun();
    const outer = follow(
      context.step("outer", async () => {
        await context.sleep(15_000);
        return context.step("inner", work(10));
      }),
    );
    await pass(15_100);
    expect([outer.value, handedOverUntilMs()]).toEqual(["done", undefined]);
  });

  test("beside a short sleep waits for that", async () => {
    const { context, handedOverUntilMs } = newRun();
    const both = follow(Promise.all([context.sleep(5_000), context.sleep(60_000)]));
    await pass(5_100);
    expect([handedOverUntilMs(), both.error]).toEqual([undefined, undefined]);
    await pass(10_000);
    expect(handedOverUntilMs()).toBe(60_000);
  });

  test("beside a longer one ends the run until the first of them is over", async () => {
    const { context, handedOverUntilMs } = newRun();
    void follow(Promise.all([context.sleep(120_000), context.sleep(60_000)]));
    await pass(10_100);
    expect(handedOverUntilMs()).toBe(60_000);
  });

  test("is not ended by code that logs or reports progress", async () => {
    const { context, handedOverUntilMs } = newRun();
    void follow(context.sleep(600_000));
    for (let i = 0; i < 10; i++) {
      context.progress(i / 10);
      await pass(i === 9 ? 0 : 5_000);
    }
    expect(handedOverUntilMs()).toBeUndefined();
    await pass(10_001);
    expect(handedOverUntilMs()).toBe(600_000);
  });

  test("no longer ends the run once the code has ended, which waits for its steps", async () => {
    const { context, settle, handedOverUntilMs } = newRun();
    void follow(context.sleep(60_000));
    void follow(context.step("work", work(3_000)));
    const settled = follow(settle().then(() => "settled"));
    await pass(2_900);
    expect(settled.value).toBeUndefined();
    await pass(200);
    expect([settled.value, handedOverUntilMs()]).toEqual(["settled", undefined]);
    await pass(30_000);
    expect(handedOverUntilMs()).toBeUndefined();
  });
});

test("sleeps that begin in another order in the next attempt keep their own times", async () => {
  const first = newRun();
  void follow(Promise.all([first.context.sleep(60_000), first.context.sleep(120_000)]));
  await pass(1);
  const steps = Object.fromEntries(first.received.steps);
  expect(Object.keys(steps)).toHaveLength(2);
  await pass(70_000);
  const second = newRun(steps, 2);
  const [long, short] = [follow(second.context.sleep(120_000)), follow(second.context.sleep(60_000))];
  await pass(1);
  expect("value" in short).toBe(true);
  expect("value" in long).toBe(false);
  await pass(10_001);
  expect(second.handedOverUntilMs()).toBe(120_000);
});

test("a sleep with jitter ends in the run that wakes up", async () => {
  const first = newRun();
  void follow(first.context.sleep(61_234));
  await pass(61_300);
  const second = newRun(Object.fromEntries(first.received.steps));
  const sleep = follow(second.context.sleep(60_001));
  await pass(1);
  expect(["value" in sleep, second.handedOverUntilMs()]).toEqual([true, undefined]);
});

test("a sleep until a time that has passed is over at once", async () => {
  const { context } = newRun();
  const sleep = follow(context.sleep(-5_000));
  await pass(1);
  expect("value" in sleep).toBe(true);
});
