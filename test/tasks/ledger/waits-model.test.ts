/**
 * Waits and signals of one task against a model of what is promised: each signal that was acknowledged is received by one
 * wait at most, in the order of sending; each wait has one end, which never changes; nothing that was sent is lost.
 */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { FAILURE, type Inside, inLedger, newTask, pass, useLedger } from "../../support/ledgers.ts";

const ledger = useLedger();

const NAMES = ["a", "b"] as const;
type Name = (typeof NAMES)[number];
const TIMEOUT_MS = 1_000;

type Command =
  | { do: "send"; name: Name; isRepeat: boolean }
  | { do: "wait"; name: Name }
  | { do: "ask again"; which: number }
  | { do: "park and wake" }
  | { do: "crash" }
  | { do: "pass"; ms: number };

const name = fc.constantFrom(...NAMES);
const command: fc.Arbitrary<Command> = fc.oneof(
  fc.record({ do: fc.constant("send" as const), name, isRepeat: fc.boolean() }),
  fc.record({ do: fc.constant("wait" as const), name }),
  fc.record({ do: fc.constant("ask again" as const), which: fc.nat(20) }),
  fc.record({ do: fc.constant("park and wake" as const) }),
  fc.record({ do: fc.constant("crash" as const) }),
  fc.record({ do: fc.constant("pass" as const), ms: fc.constantFrom(1, 400, TIMEOUT_MS) }),
);

interface Wait {
  key: string;
  name: Name;
  /** Undefined while it lasts. */
  end: string | undefined;
}

class Model {
  readonly sent: { id: string; name: Name; payload: string }[] = [];
  readonly waits: Wait[] = [];
  readonly #inside: Inside;
  readonly #id: string;

  constructor(inside: Inside, id: string) {
    this.#inside = inside;
    this.#id = id;
  }

  run(one: Command): void {
    switch (one.do) {
      case "send":
        return this.#send(one.name, one.isRepeat);
      case "wait": {
        const key = ` wait ${this.waits.filter((wait) => wait.name === one.name).length + 1} ${one.name}`;
        const wait = { key, name: one.name, end: undefined };
        this.waits.push(wait);
        return this.#ask(wait);
      }
      case "ask again": {
        const wait = this.waits[one.which % Math.max(1, this.waits.length)];
        if (wait) this.#ask(wait);
        return;
      }
      case "park and wake":
        return this.#park();
      case "crash":
        return this.#goOn({ kind: "crashed" });
      case "pass":
        pass(one.ms);
    }
  }

  #send(to: Name, isRepeat: boolean): void {
    const again = isRepeat ? this.sent.at(-1) : undefined;
    const number = this.sent.length + 1;
    const signal = again ?? { id: `id${number}`, name: to, payload: String(number) };
    const reply = this.#inside.object.signal(this.#id, signal);
    expect(reply).toMatchObject({ is: "sent", isRepeat: again !== undefined });
    if (!again) this.sent.push(signal);
  }

  #ask(wait: Wait): void {
    const { token = -1 } = this.#inside.object.getTask(this.#id) ?? {};
    const untilMs = Date.now() + TIMEOUT_MS;
    const reply = this.#inside.object.waitFor({ taskId: this.#id, token }, wait.key, wait.name, untilMs);
    if (!reply) throw new Error("the claim is stale");
    const end = "end" in reply ? reply.end : undefined;
    if (wait.end !== undefined) expect(end).toBe(wait.end);
    wait.end = end;
  }

  /** The run ends to wait, and the next one begins as soon as something wakes the task. */
  #park(): void {
    const waits = this.waits.filter(({ end }) => end === undefined).map(({ key }) => key);
    if (waits.length === 0) return;
    const isOver = waits.map((key) => this.#inside.sql("SELECT 1 FROM wait WHERE key = ?", key).length === 0);
    this.#inside.report(this.#id, { kind: "handed-over", notBeforeMs: Date.now() + TIMEOUT_MS, waits });
    expect(this.#inside.status(this.#id)).toBe(isOver.includes(true) ? "queued" : "scheduled");
    if (!isOver.includes(true)) {
      const waitingFor = this.#inside.object.getTask(this.#id)?.waiting_for ?? [];
      expect(waitingFor).toHaveLength(waits.length);
      this.#send(waitingFor[0]?.signal as Name, false);
      expect(this.#inside.status(this.#id)).toBe("queued");
    }
    this.#inside.alarm();
    expect(this.#inside.status(this.#id)).toBe("running");
  }

  #goOn(outcome: Parameters<Inside["report"]>[1]): void {
    const before = this.#inside.sql("SELECT has_new_step, crashes FROM task WHERE id = ?", this.#id)[0];
    // One crash more would end the task.
    if (before?.crashes === 4 && before.has_new_step === 0) return;
    this.#inside.report(this.#id, outcome);
    this.#inside.alarm();
  }

  check(): void {
    for (const wait of this.waits) this.#ask(wait);
    for (const each of NAMES) {
      const sent = this.sent.filter((signal) => signal.name === each).map(({ payload }) => payload);
      const received = this.waits.flatMap(({ name: to, end }) => {
        const [, payload] = /^\{"signal":(\d+)\}$/.exec(end ?? "") ?? [];
        return to === each && payload !== undefined ? [payload] : [];
      });
      expect(new Set(received).size).toBe(received.length);
      const kept = this.#inside.sql(
        "SELECT payload FROM signal WHERE name = ? AND payload IS NOT NULL ORDER BY number",
        each,
      );
      // Each is received once or kept, and those that are kept are the last.
      expect(received.toSorted((a, b) => Number(a) - Number(b))).toEqual(sent.slice(0, received.length));
      expect(kept.map(({ payload }) => payload)).toEqual(sent.slice(received.length));
    }
    const lasting = this.waits.filter(({ end }) => end === undefined).map(({ key }) => key);
    const waiting = this.#inside.sql("SELECT key FROM wait").map(({ key }) => key);
    expect(new Set(waiting)).toEqual(new Set(lasting));
  }
}

test("each signal is received once at most, each wait ends once, and nothing is lost", async () => {
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(command, { maxLength: 40 }), async (commands) => {
      const id = `${ledger.name}-${++runs}`;
      await inLedger(`${ledger.name}${runs}`, (inside) => {
        inside.object.submit([newTask("waits_model", id)]);
        inside.alarm();
        const model = new Model(inside, id);
        for (const one of commands) model.run(one);
        model.check();
        inside.report(id, FAILURE);
        const late = inside.object.signal(id, { id: "late", name: "a", payload: "0" });
        expect(late).toEqual({ is: "ended" });
        inside.object.remove(id);
        expect(inside.sql("SELECT 1 FROM wait UNION ALL SELECT 1 FROM signal")).toEqual([]);
      });
    }),
    { numRuns: 40 },
  );
});
