/** How the ledger reaches runners: a claim is taken back only where none can have it. */
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

/** Runners whose objects do as they are told; what was asked of which. */
function scripted(start: (claim: Claim, tries: number) => Promise<void>, cancel = async () => {}) {
  const asked: string[] = [];
  const getByName = (name: string) => ({
    start: async (claim: Claim) => start(claim, asked.push(`start ${name}`)),
    cancel: async () => {
      asked.push(`cancel ${name}`);
      return cancel();
    },
  });
  const runners = new Runners({ ...env, TASK_RUNNER: { getByName } } as unknown as Env);
  return { runners, asked };
}

describe("a claim", () => {
  test("is given to a runner of its own", async () => {
    const given: Claim[] = [];
    const { runners, asked } = scripted(async (claim) => void given.push(claim));
    expect([await runners.start(CLAIM), given, asked]).toEqual([true, [CLAIM], ["start a.3"]]);
  });

  test("is given again to a runner that could not be reached at first", async () => {
    const { runners, asked } = scripted(async (_, tries) => (tries < 3 ? unreachable() : undefined));
    const { value, lines } = await captureLogs(async () => runners.start(CLAIM));
    expect([value, asked, lines]).toEqual([true, ["start a.3", "start a.3", "start a.3"], []]);
  });

  test("has not begun where no runner could be reached, and that is told of", async () => {
    const { runners, asked } = scripted(unreachable);
    const { value, lines } = await captureLogs(async () => runners.start(CLAIM));
    expect([value, asked.length]).toEqual([false, 3]);
    expect(lines).toMatchObject([
      { level: "warn", message: "no runner could be reached", taskId: "a", error: "Error: not now" },
    ]);
  });

  test.each<[string, (runners: Runners) => void, boolean]>([
    ["has begun where its runner has opened it", (runners) => runners.noteOpened("a"), true],
    ["has not where the runner of another task has opened that", (runners) => runners.noteOpened("b"), false],
    [
      "has not where it was opened, and is over",
      (runners) => {
        runners.noteOpened("a");
        runners.forget("a");
      },
      false,
    ],
  ])("that no runner says it has taken: %s", async (_, meanwhile, isTaken) => {
    const { runners } = scripted(async (_claim, tries) => {
      if (tries === 2) meanwhile(runners);
      return unreachable();
    });
    expect(await runners.start(CLAIM)).toBe(isTaken);
  });

  test("has not begun by the task's claim before it having been opened", async () => {
    const { runners } = scripted(unreachable);
    runners.noteOpened("a");
    expect(await runners.start(CLAIM)).toBe(false);
  });
});

test("the runner of a claim is told to end it, once; that it cannot be reached matters to nobody", async () => {
  const { runners, asked } = scripted(unreachable, unreachable);
  await expect(runners.cancel(CLAIM)).resolves.toBeUndefined();
  expect(asked).toEqual(["cancel a.3"]);
});
