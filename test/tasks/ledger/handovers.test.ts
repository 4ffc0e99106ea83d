/** Follow-ups in the ledger: with the end of their task or not at all, and on their way to another shard. */
import { env, evictDurableObject } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { shardOfType } from "../../../src/tasks/ledger/task-id.ts";
import { defineTask } from "../../../src/tasks/types/define.ts";
import { registerTaskTypes } from "../../../src/tasks/types/registry.ts";
import {
  FAILURE,
  type Inside,
  inLedger,
  ledgerCalled,
  newTask,
  pass,
  T0,
  useClock,
} from "../../support/ledgers.ts";
import { keepQuiet } from "../../support/quiet.ts";

const body = { input: z.unknown(), run: async () => null };
const capped = defineTask({ ...body, name: "handover-capped", concurrency: 1 });
registerTaskTypes([defineTask({ ...body, name: "handover-first", retry: { retries: 0 } }), capped]);

useClock();
keepQuiet();

let count = 0;
/** A shard that has an own name, since ids lead to shards. No capped type is on it. */
const SHARD = ["s0", "s1", "s2", "s3"].find((name) => name !== shardOfType(capped, "none")) ?? "";
const followUp = (type: string, more = {}) => ({ type, input: "{{result.n}}", priority: 0, ...more });
const first = (id: string, then: unknown[]) =>
  newTask("handover-first", id, { lane: "fast", then: JSON.stringify(then) });
const SUCCESS = { kind: "succeeded", result: '{"n":7}' } as const;
const followUpsOf = (inside: Inside, id: string): string[] =>
  JSON.parse(inside.object.getTask(id)?.follow_ups ?? "[]");
const handovers = (inside: Inside) => inside.sql("SELECT id, tries, due_at_ms FROM handover");
const newId = () => `${SHARD}-00000000-0000-4000-8000-${String(++count).padStart(12, "0")}`;

/** Replaces the other shards. Returns a function that undoes it. */
function scriptLedgers(inside: Inside, submit: (tasks: unknown[]) => Promise<unknown>): () => void {
  const { env: bindings } = inside.object as unknown as { env: { TASK_LEDGER: unknown } };
  const before = bindings.TASK_LEDGER;
  bindings.TASK_LEDGER = { getByName: () => ({ submit, submitWithFollowUps: submit }) };
  return () => {
    bindings.TASK_LEDGER = before;
  };
}

describe("follow-ups", () => {
  test("are written with the end of their task, and given to runners by the next alarm, which is at once", async () => {
    await inLedger(SHARD, async (inside) => {
      const id = newId();
      inside.object.submitWithFollowUps([
        first(id, [followUp("handover-first"), followUp("handover-first")]),
      ]);
      expect(followUpsOf(inside, id)).toEqual([]);
      inside.report(id, SUCCESS);
      const ids = followUpsOf(inside, id);
      expect(ids.map((next) => inside.object.getTask(next))).toMatchObject([
        { status: "queued", input: "7", pool: "new" },
        { status: "queued", input: "7" },
      ]);
      expect(await inside.storage.getAlarm()).toBeLessThanOrEqual(T0);
      expect(inside.alarm().map(({ taskId }) => taskId)).toEqual(expect.arrayContaining(ids));
      // The same report again changes nothing.
      inside.report(id, SUCCESS);
      expect(followUpsOf(inside, id)).toEqual(ids);
    });
  });

  test("are not written if one of them cannot be: then the task has not ended either", async () => {
    await inLedger(SHARD, (inside) => {
      const id = newId();
      inside.object.submitWithFollowUps([first(id, [followUp("handover-first")])]);
      inside.sql("UPDATE task SET then_tasks = '[{' WHERE id = ?", id);
      inside.report(id, SUCCESS);
      expect([inside.status(id), followUpsOf(inside, id)]).toEqual(["running", []]);
    });
  });

  test("do not start at a failure or a cancel; a failed one that cannot start calls back and starts nothing", async () => {
    await inLedger(SHARD, (inside) => {
      const [failed, cancelled, wrong] = [newId(), newId(), newId()];
      const hook = { callback_url: "https://app.example.com/hooks/" };
      inside.object.submitWithFollowUps([
        first(failed, [followUp("handover-first")]),
        first(cancelled, [followUp("handover-first")]),
        first(wrong, [
          followUp("handover-first", { input: "{{result.x}}", then: [followUp("handover-first")], ...hook }),
        ]),
      ]);
      const before = inside.sql("SELECT count(*) AS n FROM task")[0]?.n;
      inside.report(failed, FAILURE);
      inside.object.cancel(cancelled);
      inside.report(cancelled, SUCCESS);
      expect(inside.sql("SELECT count(*) AS n FROM task")[0]?.n).toBe(before);
      inside.report(wrong, SUCCESS);
      const [next = ""] = followUpsOf(inside, wrong);
      expect(inside.object.getTask(next)).toMatchObject({
        status: "failed",
        started_at_ms: null,
        finished_at_ms: T0,
      });
      expect(inside.object.retry(next)).toBe("refused");
      expect(inside.sql("SELECT input FROM task WHERE type = 'callback'").map(({ input }) => input)).toEqual([
        expect.stringContaining(next),
      ]);
      expect(inside.events(next)).toMatchObject([{ number: 1, data: expect.stringContaining("failed") }]);
    });
  });

  test("of a task whose end an earlier version has written start when the ledger does", async () => {
    const id = newId();
    await inLedger(SHARD, (inside) => {
      inside.object.submitWithFollowUps([first(id, [followUp("handover-first")])]);
      inside.sql(
        "UPDATE task SET status = 'succeeded', result = '{\"n\":7}', lane = NULL, finished_at_ms = ? WHERE id = ?",
        T0,
        id,
      );
    });
    await evictDurableObject(ledgerCalled(SHARD));
    await inLedger(SHARD, (inside) => {
      const [next = ""] = followUpsOf(inside, id);
      expect(inside.object.getTask(next)).toMatchObject({ input: "7" });
    });
  });
});

describe("a follow-up of a type with a shard of its own", () => {
  test("is written down with the end of its task, sent until it has arrived, and then forgotten", async () => {
    const id = newId();
    const sent: unknown[] = [];
    await inLedger(SHARD, async (inside) => {
      let isDown = true;
      const restore = scriptLedgers(inside, async (tasks) => {
        sent.push(...tasks);
        if (isDown) throw Object.assign(new Error("down"), { remote: true });
        return [null];
      });
      inside.object.submitWithFollowUps([
        first(id, [followUp(capped.name, { then: [followUp("handover-first")] })]),
      ]);
      inside.report(id, SUCCESS);
      const [next = ""] = followUpsOf(inside, id);
      expect(handovers(inside)).toMatchObject([{ id: next, tries: 0, due_at_ms: T0 }]);
      expect(await inside.storage.getAlarm()).toBeLessThanOrEqual(T0);
      inside.object.alarm();
      await expect.poll(() => handovers(inside)).toMatchObject([{ id: next, due_at_ms: T0 + 1_000 }]);
      isDown = false;
      inside.object.alarm();
      expect(sent).toHaveLength(1); // not before its time
      pass(1_000);
      inside.object.alarm();
      await expect.poll(() => handovers(inside)).toEqual([]);
      expect(sent).toMatchObject([
        { id: next },
        { id: next, input: "7", then: expect.stringContaining("handover-first") },
      ]);
      restore();
    });
  });

  test("is sent by the next instance, if this one dies after the end of its task", async () => {
    const id = newId();
    await inLedger(SHARD, (inside) => {
      inside.object.submitWithFollowUps([first(id, [followUp(capped.name)])]);
      inside.report(id, SUCCESS);
    });
    await evictDurableObject(ledgerCalled(SHARD));
    const next = await inLedger(SHARD, (inside) => {
      inside.object.alarm();
      return followUpsOf(inside, id)[0] ?? "";
    });
    const shard = env.TASK_LEDGER.getByName(shardOfType(capped, "none"));
    await expect.poll(async () => (await shard.getTask(next))?.input).toBe("7");
    await inLedger(SHARD, async (inside) => expect.poll(() => handovers(inside)).toEqual([]));
  });
});
