/** Waiting readers: each is woken once, by a change of its own task or after its time. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Watchers } from "../../../src/tasks/ledger/watchers.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Waits for a task, and adds `who` to `woken` when the wait ends. */
function watch(watchers: Watchers, woken: string[], taskId: string, ms: number, who = taskId): void {
  watchers.next(taskId, ms).then(
    () => woken.push(who),
    () => woken.push("nobody"),
  );
}

test("a change of a task wakes all who wait for it, and nobody else", async () => {
  const watchers = new Watchers();
  const woken: string[] = [];
  watch(watchers, woken, "a", 1_000, "first");
  watch(watchers, woken, "a", 1_000, "second");
  watch(watchers, woken, "b", 1_000);
  watchers.notify("a");
  watchers.notify("nobody's");
  await vi.advanceTimersByTimeAsync(999);
  expect(woken).toEqual(["first", "second"]);
  await vi.advanceTimersByTimeAsync(1);
  expect(woken).toEqual(["first", "second", "b"]);
});

test("no timer is left behind", async () => {
  const watchers = new Watchers();
  const woken: string[] = [];
  watch(watchers, woken, "a", 1_000);
  watch(watchers, woken, "b", 1_000);
  watchers.notify("a");
  await vi.advanceTimersByTimeAsync(0);
  expect(vi.getTimerCount()).toBe(1);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(vi.getTimerCount()).toBe(0);
});

test("a reader that arrives while others are woken, or whose neighbour's time is over, is woken by the next event", async () => {
  const watchers = new Watchers();
  const woken: string[] = [];
  watch(watchers, woken, "a", 1_000, "early");
  watchers.notify("a");
  watch(watchers, woken, "a", 10, "short");
  watch(watchers, woken, "a", 1_000, "long");
  await vi.advanceTimersByTimeAsync(10);
  expect(woken).toEqual(["early", "short"]);
  watchers.notify("a");
  await vi.advanceTimersByTimeAsync(0);
  expect(woken).toEqual(["early", "short", "long"]);
});
