/** The figures of a ledger: each task counts once, whatever happens to the object, and counting it costs no row. */
import { abortAllDurableObjects, evictDurableObject } from "cloudflare:test";
import { expect, test } from "vitest";
import { setbackOf } from "../../../src/tasks/ledger/task-figures.ts";
import { newType } from "../../support/background.ts";
import {
  FAILURE,
  type Inside,
  inLedger,
  ledgerCalled,
  newTask,
  pass,
  SUCCESS,
  useLedger,
} from "../../support/ledgers.ts";
import { platform } from "../../support/platform/platform.ts";

const ledger = useLedger();
const TYPE = "task_a";
const OTHER = "not_registered";

const read = (inside: Inside) => inside.object.figures();
/** The counts of a type that are not zero, without the histograms. */
function countsOf(inside: Inside, type = TYPE): Record<string, number> {
  const { counts } = read(inside);
  return Object.fromEntries(
    Object.entries(counts).filter(
      ([key, value]) => key.split("|")[1] === type && value > 0 && !/^(?:wait|run)\|/.test(key),
    ),
  );
}

/** Submits a task that is claimed at once, as in the fast lane. */
function begin(inside: Inside, id: string, type = TYPE): void {
  inside.object.submit([newTask(type, id, { lane: "fast", lifetimeMs: 30_000 })]);
}

test("tasks that were submitted and that have ended are counted once, in whatever way they ended", async () => {
  await inLedger(ledger.name, (inside) => {
    read(inside);
    for (const id of ["a", "b", "c", "d"]) begin(inside, id);
    pass(40);
    inside.report("a", SUCCESS);
    inside.report("b", FAILURE);
    inside.object.submit([newTask(TYPE, "e", { runAtMs: Date.now() + 1e9 })]);
    inside.object.cancel("e");
    pass(1);
    const expected = {
      "submitted|task_a": 5,
      "finished|task_a|succeeded": 1,
      "finished|task_a|failed": 1,
      "finished|task_a|cancelled": 1,
    };
    expect(countsOf(inside)).toEqual(expected);
    pass(10_000);
    expect(countsOf(inside)).toEqual(expected);
    const { counts, gauges } = read(inside);
    expect([counts["wait|task_a|0"], counts["run|task_a|2"], counts["run|task_a|sum"]]).toEqual([2, 2, 0.08]);
    expect([gauges["tasks|task_a|running"], gauges["tasks|task_a|cancelled"]]).toEqual([2, 1]);
  });
});

test("a task that ends late, after its minute among the soon, is counted too", async () => {
  await inLedger(ledger.name, (inside) => {
    read(inside);
    begin(inside, "a");
    for (let minute = 0; minute < 5; minute++) {
      pass(60_000);
      read(inside);
    }
    inside.report("a", SUCCESS);
    pass(1);
    expect(countsOf(inside)).toEqual({ "submitted|task_a": 1, "finished|task_a|succeeded": 1 });
  });
});

test.each(["eviction", "crash"])(
  "the %s of a ledger between two readings loses no task, and counts none twice",
  async (how) => {
    const restart = async () =>
      how === "crash" ? abortAllDurableObjects() : evictDurableObject(ledgerCalled(ledger.name));
    await inLedger(ledger.name, (inside) => read(inside));
    await restart();
    await inLedger(ledger.name, (inside) => {
      begin(inside, "a");
      inside.report("a", SUCCESS);
      pass(1);
    });
    await restart();
    await inLedger(ledger.name, (inside) => expect(countsOf(inside)["finished|task_a|succeeded"]).toBe(1));
    await restart();
    await inLedger(ledger.name, (inside) => {
      begin(inside, "b");
      pass(1);
      expect(countsOf(inside)).toEqual({ "submitted|task_a": 2, "finished|task_a|succeeded": 1 });
    });
  },
);

test.each(["removed", "retried by hand"])("an end is counted before it is %s", async (how) => {
  await inLedger(ledger.name, (inside) => {
    read(inside);
    begin(inside, "a");
    inside.report("a", FAILURE);
    pass(1);
    if (how === "removed") inside.object.remove("a");
    else inside.object.retry("a");
    pass(1);
    expect(countsOf(inside)).toEqual({ "submitted|task_a": 1, "finished|task_a|failed": 1 });
  });
  await evictDurableObject(ledgerCalled(ledger.name));
  await inLedger(ledger.name, (inside) => expect(countsOf(inside)["finished|task_a|failed"]).toBe(1));
});

test("what ended while nobody read the figures for long is not looked for", async () => {
  await inLedger(ledger.name, (inside) => {
    read(inside);
    pass(16 * 60_000);
    begin(inside, "a");
    inside.report("a", SUCCESS);
    pass(1);
    expect(countsOf(inside)).toEqual({});
    begin(inside, "b");
    pass(1);
    expect(countsOf(inside)).toEqual({ "submitted|task_a": 1 });
  });
});

test("types that are not registered are counted together", async () => {
  await inLedger(ledger.name, (inside) => {
    read(inside);
    begin(inside, "a", OTHER);
    begin(inside, "b", `${OTHER}_2`);
    pass(1);
    expect(countsOf(inside, "other")).toEqual({ "submitted|other": 2 });
  });
});

test("retries and crashes are counted when they happen", async () => {
  const type = newType("figures_retried", async () => null, { retry: { retries: 1 } });
  await inLedger(ledger.name, (inside) => {
    read(inside);
    begin(inside, "a", type.name);
    const { error } = FAILURE as { error: { name: string; message: string } };
    inside.report("a", { kind: "failed", error, isFinal: false });
    begin(inside, "b", type.name);
    inside.report("b", { kind: "crashed" });
    const { counts } = read(inside);
    const label = Object.hasOwn(counts, `retries|${type.name}`) ? type.name : "other";
    expect([counts[`retries|${label}`], counts[`crashes|${label}`]]).toEqual([1, 1]);
  });
});

test("a hand-over sets nothing back, and the crash that is one too many is one", () => {
  const task = { status: "queued", crashes: 0 } as Parameters<typeof setbackOf>[0]["task"];
  const event = (data: Record<string, unknown>) => ({ name: "status" as const, data });
  expect(setbackOf({ task, event: event({ reason: "handed-over" }) })).toBeUndefined();
  expect(setbackOf({ task: { ...task, status: "failed", crashes: 5 }, event: event({ error: {} }) })).toBe(
    "crashes",
  );
  expect(setbackOf({ task: { ...task, status: "failed" }, event: event({ error: {} }) })).toBeUndefined();
});

test("how long the next in a queue has waited, and by how much the ledger is overdue", async () => {
  await inLedger(ledger.name, (inside) => {
    inside.object.submit([newTask(OTHER, "a")]);
    inside.object.submit([newTask(TYPE, "b", { runAtMs: Date.now() + 1_000 })]);
    pass(31_000);
    const { gauges } = read(inside);
    expect([gauges["oldest|other"], gauges.overdue]).toEqual([31, 30]);
  });
});

test("readings cost a row when there is news, and tasks cost what they cost without readings", async () => {
  const rowsOf = async (isRead: boolean) => {
    const { rowsWritten } = await platform.measure(async () =>
      inLedger(`${ledger.name}${isRead ? 1 : 2}`, (inside) => {
        if (isRead) read(inside);
        for (let n = 0; n < 20; n++) {
          begin(inside, `t${n}`);
          pass(1);
          inside.report(`t${n}`, SUCCESS);
        }
      }),
    );
    return rowsWritten;
  };
  // The one is that somebody reads them.
  expect((await rowsOf(true)) - (await rowsOf(false))).toBe(1);
});
