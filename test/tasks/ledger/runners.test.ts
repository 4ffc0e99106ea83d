/** How the ledger reaches runners: it takes a claim back only if no runner can have it. */
import { env } from "cloudflare:test";
import { beforeEach, describe, expect, test, vi } from "vitest";
import type { Claim } from "../../../src/tasks/ledger/claim.ts";
import { Runners } from "../../../src/tasks/ledger/runners.ts";
import { captureLogs } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";

keepQuiet();
beforeEach(() => {
  vi.spyOn(scheduler, "wait").mockResolvedValue();
});

const CLAIM = { taskId: "a", token: 3 };
const unreachable = async () => Promise.reject(new Error("not now"));

/** Runners whose objects do what the test scripts, and the calls that they receive. */
function scripted(
  start: (claim: Claim, tries: number) => Promise<void>,
  cancel = async () => {},
  stop = async (_tries: number) => {},
) {
  const calls: string[] = [];
  const getByName = (name: string) => ({
    start: async (claim: Claim) => start(claim, calls.push(`start ${name}`)),
    cancel: async () => {
      calls.push(`cancel ${name}`);
      return cancel();
    },
    stop: async () => stop(calls.push(`stop ${name}`)),
  });
  const runners = new Runners({ ...env, TASK_RUNNER: { getByName } } as unknown as Env);
  return { runners, calls };
}

describe("a claim", () => {
  test("is given to a new runner", async () => {
    const started: Claim[] = [];
    const { runners, calls } = scripted(async (claim) => void started.push(claim));
    expect([await runners.start(CLAIM), started, calls]).toEqual([true, [CLAIM], ["start a.3"]]);
  });

  test("is given again if the runner could not be reached at first", async () => {
    const { runners, calls } = scripted(async (_, tries) => (tries < 3 ? unreachable() : undefined));
    const { value, lines } = await captureLogs(async () => runners.start(CLAIM));
    expect([value, calls, lines]).toEqual([true, ["start a.3", "start a.3", "start a.3"], []]);
  });

  test("has not started if no runner could be reached, and that is logged", async () => {
    const { runners, calls } = scripted(unreachable);
    const { value, lines } = await captureLogs(async () => runners.start(CLAIM));
    expect([value, calls.length]).toEqual([false, 3]);
    expect(lines).toMatchObject([
      { level: "warn", message: "no runner could be reached", taskId: "a", error: "Error: not now" },
    ]);
  });

  test.each<[string, (runners: Runners) => void, boolean]>([
    ["has started if its runner has opened it", (runners) => runners.noteOpened("a"), true],
    [
      "has not started if the runner of another task has opened that",
      (runners) => runners.noteOpened("b"),
      false,
    ],
    [
      "has not started if it was opened and has ended",
      (runners) => {
        runners.noteOpened("a");
        runners.forget("a");
      },
      false,
    ],
  ])("without a reply from its runner %s", async (_, meanwhile, isStarted) => {
    const { runners } = scripted(async (_claim, tries) => {
      if (tries === 2) meanwhile(runners);
      return unreachable();
    });
    expect(await runners.start(CLAIM)).toBe(isStarted);
  });

  test("has not started if only the task's previous claim was opened", async () => {
    const { runners } = scripted(unreachable);
    runners.noteOpened("a");
    expect(await runners.start(CLAIM)).toBe(false);
  });
});

test("a runner is told once to cancel its claim; it does not matter if it cannot be reached", async () => {
  const { runners, calls } = scripted(unreachable, unreachable);
  await expect(runners.cancel(CLAIM)).resolves.toBeUndefined();
  expect(calls).toEqual(["cancel a.3"]);
});

describe("a runner is stopped", () => {
  const never = async () => {};

  test("when a call has told it so, even if the first one broke with its object", async () => {
    const { runners, calls } = scripted(never, never, async (tries) =>
      tries === 1 ? unreachable() : undefined,
    );
    const { value, lines } = await captureLogs(async () => runners.stop(CLAIM));
    expect([value, calls, lines]).toEqual([true, ["stop a.3", "stop a.3"], []]);
  });

  test("not for certain if it could not be reached, and that is logged", async () => {
    const { runners, calls } = scripted(never, never, unreachable);
    const { value, lines } = await captureLogs(async () => runners.stop(CLAIM));
    expect([value, calls.length]).toEqual([false, 3]);
    expect(lines).toMatchObject([{ level: "warn", message: "a runner could not be stopped", taskId: "a" }]);
  });
});
