/** The event stream of a task: each event once, in order, to the end, however slowly it is read. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { OpenStream } from "../../../src/kernel/open-streams.ts";
import { eventStream, type History } from "../../../src/tasks/ledger/event-stream.ts";
import { inLedger, newLedgerName, newTask, pass, SUCCESS, T0, useClock } from "../../support/ledgers.ts";

useClock();
afterEach(() => {
  vi.restoreAllMocks();
});

/** A history that the test writes. */
class Script implements History {
  length = 0;
  isOver = false;
  reads = 0;
  waits = 0;
  #wake: (() => void) | undefined;

  add(count: number): void {
    this.length += count;
    this.wake();
  }
  end(): void {
    this.isOver = true;
    this.wake();
  }
  wake(): void {
    this.#wake?.();
  }
  read(after: number, limit: number) {
    this.reads++;
    return Array.from({ length: Math.min(limit, Math.max(0, this.length - after)) }, (_, n) => {
      const number = after + n + 1;
      return { task_id: "a", number, at_ms: T0 + number, name: "status", data: `{"n":${number}}` };
    });
  }
  endsWith(number: number): boolean {
    return this.isOver && number >= this.length;
  }
  async changed(): Promise<void> {
    this.waits++;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    await promise;
  }
}

const streamOf = (history: History, after: number) => eventStream(history, after, new OpenStream(() => {}));
const textOf = async (stream: ReadableStream<Uint8Array>) => new Response(stream).text();
const idsIn = (text: string) => [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id));
const upTo = (last: number, first = 1) => Array.from({ length: last - first + 1 }, (_, n) => first + n);

test("an event has its number, name, time and data", async () => {
  const script = new Script();
  script.add(1);
  script.end();
  expect(await textOf(streamOf(script, 0))).toBe(
    `retry: 1000\n\nid: 1\nevent: status\ndata: {"at":"2100-01-01T00:00:00.001Z","n":1}\n\n`,
  );
});

test.each([0, 1, 99, 100, 101, 249, 250])(
  "a reader that has seen %i events receives the others once",
  async (after) => {
    const script = new Script();
    script.add(250);
    script.end();
    expect(idsIn(await textOf(streamOf(script, after)))).toEqual(upTo(250, after + 1));
  },
);

test("events that are added during the reading follow, and the stream ends after the last one", async () => {
  const script = new Script();
  script.add(2);
  let text = "";
  const reading = streamOf(script, 1)
    .pipeThrough(new TextDecoderStream())
    .pipeTo(new WritableStream({ write: (part) => void (text += part) }));
  for (const [n, count] of [1, 2].entries()) {
    await vi.waitFor(() => expect(script.waits).toBe(n + 1));
    script.add(count);
  }
  await vi.waitFor(() => expect(idsIn(text)).toEqual([2, 3, 4, 5]));
  script.end();
  await reading;
  expect(idsIn(text)).toEqual([2, 3, 4, 5]);
});

test("a wake-up without an event sends nothing; a comment breaks a long silence", async () => {
  const script = new Script();
  script.add(1);
  const text = textOf(streamOf(script, 0));
  const untilItWaits = async (times: number) => vi.waitFor(() => expect(script.waits).toBe(times));
  await untilItWaits(1);
  // Not exact to the millisecond: waiting for a condition also advances the fake clock.
  pass(10_000);
  script.wake();
  await untilItWaits(2);
  pass(15_000);
  script.wake();
  await untilItWaits(3);
  script.add(1);
  await untilItWaits(4);
  script.end();
  expect((await text).split("\n\n").map((block) => block.split("\n")[0])).toEqual([
    "retry: 1000",
    "id: 1",
    ": still here",
    "id: 2",
    "",
  ]);
});

test("events are not read ahead of a slow reader", async () => {
  const script = new Script();
  script.add(100_000);
  const reader = streamOf(script, 0).getReader();
  for (let n = 0; n < 3; n++) await reader.read();
  expect(script.reads).toBeLessThan(5);
  await reader.cancel();
});

test("a reader that leaves ends the reading without an error", async () => {
  const script = new Script();
  script.add(100_000);
  const reader = streamOf(script, 0).getReader();
  await reader.read();
  await reader.cancel();
  await vi.waitFor(() => expect(script.reads).toBeGreaterThan(0));
  const { reads } = script;
  script.add(1);
  await scheduler.wait(0);
  expect(script.reads).toBe(reads);
});

test("a history that can no longer be read breaks the stream off", async () => {
  const script = new Script();
  script.add(1);
  vi.spyOn(script, "endsWith").mockImplementation(() => {
    throw new Error("no");
  });
  await expect(textOf(streamOf(script, 0))).rejects.toThrow();
});

describe("the event stream of the ledger", () => {
  test("follows a task to its end, and is over for a reader that has seen the end", async () => {
    await inLedger(newLedgerName(), async ({ object }) => {
      object.submit([newTask("event-stream", "a", { lane: "fast" })]);
      const stream = object.watch("a", 0, "reader");
      if (!(stream instanceof ReadableStream)) throw new Error("there is no stream");
      const text = textOf(stream);
      object.progress({ taskId: "a", token: 1 }, 0.5, "half");
      object.step({ taskId: "a", token: 1 }, "one", "1");
      object.report([{ taskId: "a", token: 1, outcome: SUCCESS }]);
      expect(idsIn(await text)).toEqual([1, 2, 3, 4]);
      expect([object.watch("a", 4, "reader"), object.watch("none", 0, "reader")]).toEqual(["over", null]);
      // An id that no event has is as good as none.
      for (const lastRead of [3, 9])
        expect(object.watch("a", lastRead, "reader")).toBeInstanceOf(ReadableStream);
    });
  });

  test("continues where it was broken off", async () => {
    await inLedger(newLedgerName(), async ({ object }) => {
      object.submit([newTask("event-stream", "a", { lane: "fast" })]);
      object.report([{ taskId: "a", token: 1, outcome: { kind: "crashed" } }]);
      object.cancel("a");
      const stream = object.watch("a", 2, "reader");
      expect(idsIn(stream instanceof ReadableStream ? await textOf(stream) : "")).toEqual([3]);
    });
  });

  test("ends when its task is removed", async () => {
    await inLedger(newLedgerName(), async ({ object }) => {
      object.submit([newTask("event-stream", "a")]);
      const stream = object.watch("a", 1, "reader");
      const text = stream instanceof ReadableStream ? textOf(stream) : expect.fail();
      await scheduler.wait(0);
      object.cancel("a");
      object.remove("a");
      expect(await text).toContain("retry");
    });
  });
});

describe("waiting in the ledger", () => {
  test("ends with the task, and with nothing earlier", async () => {
    await inLedger(newLedgerName(), async ({ object }) => {
      object.submit([newTask("event-stream", "a", { lane: "fast" })]);
      const waiting = object.wait("a", 60_000);
      object.progress({ taskId: "a", token: 1 }, 0.5, null);
      await scheduler.wait(0);
      object.report([{ taskId: "a", token: 1, outcome: SUCCESS }]);
      expect(await waiting).toMatchObject({ status: "succeeded", result: '"done"' });
      expect(await object.wait("a", 60_000)).toMatchObject({ status: "succeeded" });
      expect(await object.wait("none", 60_000)).toBeNull();
    });
  });

  test("ends after its time, and returns the task as it is then", async () => {
    vi.useRealTimers();
    await inLedger(newLedgerName(), async ({ object }) => {
      object.submit([newTask("event-stream", "a", { runAtMs: T0 })]);
      expect(await object.wait("a", 0)).toMatchObject({ status: "scheduled" });
      expect(await object.wait("a", 20)).toMatchObject({ status: "scheduled" });
    });
  });
});

describe("a stream on which nothing happens ends, since it would keep the ledger awake", () => {
  /** Reads a stream while 15 s pass at each wait. Returns its text, and after how many seconds it ended. */
  async function readIdle(after: number, events: number, addAfterS = Number.POSITIVE_INFINITY) {
    const script = new Script();
    script.add(events);
    const beganAtMs = Date.now();
    script.changed = async () => {
      pass(15_000);
      if (Date.now() - beganAtMs === addAfterS * 1_000) script.add(1);
    };
    const text = await textOf(streamOf(script, after));
    return { text, endedAfterS: (Date.now() - beganAtMs) / 1_000 };
  }

  test("after five minutes, and its reader comes back a minute later", async () => {
    const { text, endedAfterS } = await readIdle(0, 2);
    expect([idsIn(text), endedAfterS]).toEqual([[1, 2], 300]);
    expect(text.split("\n\n").slice(-2)).toEqual(["retry: 60000", ""]);
  });

  test("counted from the last event", async () => {
    const { text, endedAfterS } = await readIdle(0, 2, 240);
    expect([idsIn(text), endedAfterS]).toEqual([[1, 2, 3], 540]);
  });

  test("soon, if its reader has reconnected and found nothing new", async () => {
    const { text, endedAfterS } = await readIdle(2, 2);
    expect([idsIn(text), endedAfterS]).toEqual([[], 15]);
    expect(text.split("\n\n").slice(-2)).toEqual(["retry: 60000", ""]);
  });
});
