/**
 * A parent and its children under everything that can happen to them, with messages that arrive twice, late and in any
 * order: the parent is never left asleep when its children have ended, the children of a cancelled one end, and what it has
 * once seen of a child does not change.
 */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { z } from "zod";
import type { FlowMessage } from "../../../src/tasks/ledger/flow-messages.ts";
import { isFinal, type TaskStatus } from "../../../src/tasks/ledger/task-state.ts";
import { defineTask } from "../../../src/tasks/types/define.ts";
import { registerTaskTypes } from "../../../src/tasks/types/registry.ts";
import { FAILURE, type Inside, inLedger, newTask, pass, SUCCESS, useClock } from "../../support/ledgers.ts";
import { keepQuiet } from "../../support/quiet.ts";

useClock();
keepQuiet();
registerTaskTypes([
  defineTask({ name: "flows_model", input: z.unknown(), retry: { retries: 0 }, run: async () => null }),
]);

/** One whose name leads to it from its ids. */
const SHARD = "s2";
const CHILDREN = 3;
const KEY = " tasks 1";

type Command =
  | { do: "end child"; which: number; fails: boolean }
  | { do: "cancel child" | "retry child"; which: number }
  | { do: "wait"; mode: "all" | "allSettled" }
  | { do: "cancel parent" | "retry parent" | "fail parent" | "alarm" }
  | { do: "repeat"; which: number };

const which = fc.nat(CHILDREN - 1);
const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("end child" as const), which, fails: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("alarm" as const) }) },
  fc.record({ do: fc.constantFrom("cancel child" as const, "retry child" as const), which }),
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("wait" as const),
      mode: fc.constantFrom("all" as const, "allSettled" as const),
    }),
  },
  fc.record({
    do: fc.constantFrom("cancel parent" as const, "retry parent" as const, "fail parent" as const),
  }),
  { weight: 2, arbitrary: fc.record({ do: fc.constant("repeat" as const), which: fc.nat(30) }) },
);

class Model {
  readonly #inside: Inside;
  readonly #parent: string;
  readonly #children: string[];
  /** Every message that was ever written. */
  readonly #seen = new Map<string, FlowMessage>();
  #mode: "all" | "allSettled" = "allSettled";
  /** What the parent has seen of its children in this life. */
  #known = new Map<string, string>();

  constructor(inside: Inside, run: number) {
    const id = (n: number) => `${SHARD}-00000000-0000-4000-8000-${String(run * 10 + n).padStart(12, "0")}`;
    this.#inside = inside;
    this.#parent = id(0);
    this.#children = Array.from({ length: CHILDREN }, (_, n) => id(n + 1));
  }

  async begin(): Promise<void> {
    this.#inside.object.submit([newTask("flows_model", this.#parent)]);
    await this.#alarm();
    const children = this.#children.map((id) => newTask("flows_model", id));
    for (let n = 0; n < 2; n++) {
      const started = this.#inside.object.startChildren(this.#claim(), " start 1", children);
      expect(started).toEqual({ ids: this.#children });
    }
    await this.#alarm();
  }

  async run(one: Command): Promise<void> {
    switch (one.do) {
      case "end child":
        this.#inside.report(this.#child(one.which), one.fails ? FAILURE : SUCCESS);
        break;
      case "cancel child":
        this.#inside.object.cancel(this.#child(one.which));
        break;
      case "retry child":
        this.#inside.object.retry(this.#child(one.which));
        break;
      case "wait":
        this.#wait(one.mode);
        break;
      case "cancel parent":
        this.#inside.object.cancel(this.#parent);
        break;
      case "retry parent":
        if (this.#inside.object.retry(this.#parent) !== "refused") this.#known = new Map();
        break;
      case "fail parent":
        this.#inside.report(this.#parent, FAILURE);
        break;
      case "alarm":
        await this.#alarm();
        break;
      case "repeat": {
        const all = [...this.#seen.values()];
        const message = all[one.which % Math.max(1, all.length)];
        if (message) this.#inside.object.hearFlow(message);
      }
    }
    this.#note();
  }

  /** Lets everything come to its end. */
  async settle(): Promise<void> {
    for (let n = 0; n < 12; n++) {
      pass(61_000);
      await this.#alarm();
      for (const id of this.#children) if (this.#status(id) === "running") this.#inside.report(id, SUCCESS);
      this.#note();
    }
    expect(this.#inside.sql("SELECT id FROM flow_message")).toEqual([]);
    expect(this.#children.map((id) => isFinal(this.#status(id)))).toEqual(this.#children.map(() => true));
    const rows = this.#inside.sql("SELECT id, status FROM child WHERE parent_id = ?", this.#parent);
    expect(rows).toHaveLength(CHILDREN);
    expect(rows.filter(({ status }) => status === null)).toEqual([]);
    // Nobody sleeps for nothing.
    expect(["running", "failed", "cancelled"]).toContain(this.#status(this.#parent));
    if (this.#status(this.#parent) === "running") {
      const reply = this.#inside.object.waitForTasks(this.#claim(), KEY, this.#children, "allSettled");
      expect(reply).toMatchObject({ outcomes: this.#children.map((id) => ({ id })) });
    }
    expect(
      this.#inside.sql("SELECT 1 FROM parent WHERE is_told = 0 AND parent_id = ?", this.#parent),
    ).toEqual([]);
  }

  #wait(mode: "all" | "allSettled"): void {
    if (this.#status(this.#parent) !== "running") return;
    this.#mode = mode;
    const reply = this.#inside.object.waitForTasks(this.#claim(), KEY, this.#children, this.#mode);
    if (!reply) throw new Error("the claim is stale");
    if (!("untilMs" in reply)) return;
    this.#inside.report(this.#parent, { kind: "handed-over", notBeforeMs: reply.untilMs, waits: [KEY] });
    expect(this.#status(this.#parent)).toBe("scheduled");
  }

  async #alarm(): Promise<void> {
    this.#inside.alarm();
    // Messages for this shard are delivered in what follows.
    for (let n = 0; n < 5; n++) await scheduler.wait(0);
  }

  #note(): void {
    for (const { id, message } of this.#inside.sql("SELECT id, message FROM flow_message"))
      this.#seen.set(textOf(id), JSON.parse(textOf(message)) as FlowMessage);
    const rows = this.#inside.sql(
      "SELECT id, outcome FROM child WHERE parent_id = ? AND outcome IS NOT NULL",
      this.#parent,
    );
    for (const { id, outcome } of rows) {
      const before = this.#known.get(textOf(id));
      if (before !== undefined) expect(outcome).toBe(before);
      this.#known.set(textOf(id), textOf(outcome));
    }
  }

  #child = (number: number): string => this.#children[number] ?? "";
  #status = (id: string) => this.#inside.status(id) as TaskStatus;
  #claim() {
    return { taskId: this.#parent, token: this.#inside.object.getTask(this.#parent)?.token ?? -1 };
  }
}

test("no parent sleeps for ever, no child is left over, and no end changes", async () => {
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(command, { maxLength: 30 }), async (commands) => {
      await inLedger(SHARD, async (inside) => {
        for (const table of ["task", "child", "parent", "wait", "flow_message", "step", "event"])
          inside.sql(`DELETE FROM ${table}`);
        const model = new Model(inside, ++runs);
        await model.begin();
        for (const one of commands) await model.run(one);
        await model.settle();
      });
    }),
    { numRuns: 40 },
  );
});

function textOf(value: unknown): string {
  if (typeof value !== "string") throw new TypeError("a column that must be text");
  return value;
}
