/** A job of each kind, stopped at every moment of its work: cancelled, robbed of its source, or beside another one. */
import { env } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { sessionOf } from "../../src/files/store/shards.ts";
import { NonRetryableError } from "../../src/tasks/index.ts";
import { Interruption } from "../../src/tasks/run/run.ts";
import { callWorker } from "../support/call.ts";
import { putFile } from "../support/files.ts";
import { JOB_CASES, JOB_SOURCES, type JobCase, putJobSources, serveCases } from "../support/job-cases.ts";
import { keepQuiet } from "../support/quiet.ts";
import { expectRuntimeErrors } from "../support/runtime-errors.ts";
import { NOTHING, whatIsLeftOf } from "../support/stored.ts";
import { TestTask } from "../support/task-context.ts";

keepQuiet();
expectRuntimeErrors(
  "reader canceled",
  "cancelled",
  "cut",
  "was removed",
  "there is no file",
  "body broke off",
);

beforeEach(async () => {
  serveCases();
  await putJobSources();
});

const newTask = () => new TestTask(`s0-${crypto.randomUUID()}`);

/** What is left of the files of a task, in the catalogue, in R2 and as drafts. */
async function leftOf({ outputs }: JobCase, task: TestTask) {
  const ids = outputs(task.id);
  const drafts = await Promise.all(ids.map(async (id) => sessionOf(env, id).peek()));
  return { ...(await whatIsLeftOf(...ids)), drafts: drafts.filter((draft) => draft !== undefined) };
}

const NOTHING_AT_ALL = { ...NOTHING, drafts: [] };

/** What a run throws; undefined if it returns. */
const errorOf = async (run: Promise<unknown>): Promise<unknown> =>
  run.then(
    () => undefined,
    (error: unknown) => error,
  );

/** The bytes of each file of a task. */
async function filesOf({ outputs }: JobCase, task: TestTask): Promise<Buffer[]> {
  return Promise.all(
    outputs(task.id).map(async (id) => {
      const { response } = await callWorker(`/files/${id}`);
      expect(response.status).toBe(200);
      return Buffer.from(await response.arrayBuffer());
    }),
  );
}

describe.each(JOB_CASES)("$type", (job) => {
  test("leaves nothing wherever it is cancelled, and can then be started again", async () => {
    const reason = new Interruption("cancelled", "The task was cancelled.");
    await atEveryMoment(job, reason, async (task, error) => {
      // Code that had done everything before it looked ends as usual; the ledger cancels its task even so.
      if (error !== undefined && job.keepsWhole !== true)
        expect(await leftOf(job, task)).toEqual(NOTHING_AT_ALL);
      await task.finish(job.run);
      expect((await filesOf(job, task)).every(({ length }) => length > 0)).toBe(true);
    });
  });

  test("makes the same beside another one", async () => {
    const tasks = [newTask(), newTask()];
    const results = await Promise.all(tasks.map(async (task) => task.finish(job.run)));
    // Each has its own times.
    const [one, other] = results.map((result, i) =>
      JSON.stringify(result)
        .replaceAll(String(tasks[i]?.id), "")
        .replaceAll(/dur=[\d.]+|"sha256":"\w+"/g, ""),
    );
    expect(one).toBe(other);
    const [first, second] = await Promise.all(
      tasks.map(async (task) => (await filesOf(job, task)).map(({ length }) => length)),
    );
    expect(first).toEqual(second);
  });
});

describe.each(JOB_CASES.filter(({ source }) => source !== undefined))("$type", (job) => {
  const source = String(job.source);

  test("fails for good when its source is removed before all was read, names it, and leaves nothing", async () => {
    await atEveryMoment(job, new Error("cut"), async (task) => {
      await callWorker(`/files/${source}`, { method: "DELETE" });
      const error = await errorOf(task.finish(job.run));
      // An archive may have its last byte.
      if (job.type === "zip_files" && error === undefined) expect(await filesOf(job, task)).toHaveLength(1);
      else await expectEnd(job, task, error);
      await putFile(source, JOB_SOURCES[source] ?? "");
    });
  });

  test("does not mix two versions of its source, and leaves nothing when it fails for that", async () => {
    await atEveryMoment(job, new Error("cut"), async (task) => {
      await putFile(source, "another");
      const error = await errorOf(task.finish(job.run));
      // It had recorded nothing about the first version: all is from the second.
      if (error !== undefined) await expectEnd(job, task, error);
      await putFile(source, JOB_SOURCES[source] ?? "");
    });
  });
});

/** Runs the job once for each moment, as a task of its own, and interrupts it there. */
async function atEveryMoment(
  job: JobCase,
  reason: Error,
  check: (task: TestTask, error: unknown) => Promise<void>,
): Promise<void> {
  for (let at = 1; ; at++) {
    const task = newTask();
    const context = task.endingContext({ at, reason, countsProgress: true });
    const error = await errorOf(job.run(context));
    if (!context.signal.aborted) {
      expect(at).toBeGreaterThan(1);
      return;
    }
    await check(task, error);
  }
}

/** The task has failed for good, for a reason that names its source, and nothing is left of what it has made. */
async function expectEnd(job: JobCase, task: TestTask, error: unknown): Promise<void> {
  expect(error).toBeInstanceOf(NonRetryableError);
  expect(String(error)).toContain(job.source);
  expect(await leftOf(job, task)).toEqual(NOTHING_AT_ALL);
}
