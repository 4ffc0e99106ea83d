/** Idempotency keys: the same request makes its tasks once, whoever dies on the way. */
import { beforeEach, describe, expect, test } from "vitest";
import { KEY_TTL_MS } from "../../../src/tasks/ledger/idempotency-keys.ts";
import { type Inside, inLedger, newLedgerName, pass, useClock } from "../../support/ledgers.ts";

const MAKING_MS = 15_000;
useClock();

let name: string;
beforeEach(() => {
  name = newLedgerName();
});

/** A ledger in which request `one` has reserved the key `k` for the task `a`. */
const withKey = async (action: (ask: (print: string, id: string) => unknown, inside: Inside) => void) =>
  inLedger(name, (inside) => {
    const ask = (print: string, id: string) => inside.object.reserveKey("k", print, [id]);
    expect(ask("one", "a")).toEqual({ is: "reserved", taskIds: ["a"] });
    action(ask, inside);
  });

describe("the same request again", () => {
  test("is told to wait while the first makes its tasks", async () => {
    await withKey((ask) => {
      pass(MAKING_MS - 1);
      expect(ask("one", "b")).toEqual({ is: "in-progress" });
    });
  });

  test("gets the tasks of the first, once they are made", async () => {
    await withKey((ask, { object }) => {
      object.settleKey("k", true);
      expect(ask("one", "b")).toEqual({ is: "created", taskIds: ["a"] });
      pass(KEY_TTL_MS - 1);
      expect(ask("one", "b")).toEqual({ is: "created", taskIds: ["a"] });
    });
  });

  test.each(["could not make them", "died"])("makes those same tasks where the first %s", async (how) => {
    await withKey((ask, { object }) => {
      if (how === "died") pass(MAKING_MS);
      else object.settleKey("k", false);
      expect(ask("one", "b")).toEqual({ is: "reserved", taskIds: ["a"] });
      expect(ask("one", "c")).toEqual({ is: "in-progress" });
    });
  });

  test("is made, whatever the first says later, which was thought dead", async () => {
    await withKey((ask, { object }) => {
      pass(MAKING_MS);
      expect(ask("one", "b")).toEqual({ is: "reserved", taskIds: ["a"] });
      object.settleKey("k", true);
      object.settleKey("k", false);
      expect(ask("one", "c")).toEqual({ is: "created", taskIds: ["a"] });
    });
  });

  test("is yours again with the same ids: the answer to it was lost", async () => {
    await withKey((ask, { object }) => {
      pass(MAKING_MS - 1);
      expect(ask("one", "a")).toEqual({ is: "reserved", taskIds: ["a"] });
      // Its lease begins anew.
      pass(MAKING_MS - 1);
      expect(ask("one", "b")).toEqual({ is: "in-progress" });
      expect(ask("two", "a")).toEqual({ is: "used-by-another-request" });
      object.settleKey("k", true);
      expect(ask("one", "a")).toEqual({ is: "created", taskIds: ["a"] });
    });
  });

  test("is another one after a day", async () => {
    await withKey((ask, { object }) => {
      object.settleKey("k", true);
      pass(KEY_TTL_MS);
      expect(ask("two", "b")).toEqual({ is: "reserved", taskIds: ["b"] });
    });
  });
});

test("another request with the key is refused, whether the first has made its tasks or not", async () => {
  await withKey((ask, { object }) => {
    expect(ask("two", "b")).toEqual({ is: "used-by-another-request" });
    object.settleKey("k", true);
    expect(ask("two", "b")).toEqual({ is: "used-by-another-request" });
    pass(MAKING_MS);
    expect(ask("two", "b")).toEqual({ is: "used-by-another-request" });
    expect(object.reserveKey("other", "two", ["b"])).toEqual({ is: "reserved", taskIds: ["b"] });
  });
});

test("each new key removes two that have expired, the oldest first, and none that has not", async () => {
  await inLedger(name, ({ object, storage }) => {
    const keys = () =>
      storage.sql
        .exec("SELECT key FROM key ORDER BY key")
        .toArray()
        .map(({ key }) => key);
    for (const key of ["a", "b", "c", "d", "e"]) {
      object.reserveKey(key, "one", ["t"]);
      object.settleKey(key, true);
      pass(1);
    }
    pass(KEY_TTL_MS - 2);
    // All but the last have expired.
    object.reserveKey("f", "one", ["t"]);
    expect(keys()).toEqual(["c", "d", "e", "f"]);
    expect(object.reserveKey("d", "two", ["u"])).toEqual({ is: "reserved", taskIds: ["u"] });
    expect(keys()).toEqual(["d", "e", "f"]);
    object.reserveKey("g", "one", ["t"]);
    expect(keys()).toEqual(["d", "e", "f", "g"]);
  });
});

test("keys are removed when their day is over, and not before", async () => {
  await withKey((_ask, { object, storage }) => {
    pass(KEY_TTL_MS - 1);
    object.reserveKey("young", "one", ["b"]);
    const kept = () =>
      storage.sql
        .exec("SELECT key FROM key ORDER BY key")
        .toArray()
        .map(({ key }) => key);
    object.rearm();
    expect(kept()).toEqual(["k", "young"]);
    pass(1);
    object.rearm();
    expect(kept()).toEqual(["young"]);
  });
});
