/** Idempotency keys: the same request creates its tasks once, whatever dies on the way. */
import { beforeEach, describe, expect, test } from "vitest";
import { KEY_TTL_MS } from "../../../src/tasks/ledger/idempotency-keys.ts";
import { type Inside, inLedger, newLedgerName, pass, useClock } from "../../support/ledgers.ts";

const KEY_LEASE_MS = 15_000;
useClock();

let name: string;
beforeEach(() => {
  name = newLedgerName();
});

/** A ledger in which the request `one` has reserved the key `k` for the task `a`. */
const withKey = async (
  action: (reserve: (print: string, id: string) => unknown, inside: Inside) => void | Promise<void>,
) =>
  inLedger(name, async (inside) => {
    const reserve = (print: string, id: string) => inside.object.reserveKey("k", print, [id]);
    expect(reserve("one", "a")).toEqual({ is: "reserved", taskIds: ["a"] });
    await action(reserve, inside);
  });

describe("the same request again", () => {
  test("has to wait while the first creates its tasks", async () => {
    await withKey((reserve) => {
      pass(KEY_LEASE_MS - 1);
      expect(reserve("one", "b")).toEqual({ is: "in-progress" });
    });
  });

  test("gets the tasks of the first after they were created", async () => {
    await withKey((reserve, { object }) => {
      object.settleKey("k", true);
      expect(reserve("one", "b")).toEqual({ is: "created", taskIds: ["a"] });
      pass(KEY_TTL_MS - 1);
      expect(reserve("one", "b")).toEqual({ is: "created", taskIds: ["a"] });
    });
  });

  test.each(["could not create them", "died"])("creates the same tasks if the first %s", async (how) => {
    await withKey((reserve, { object }) => {
      if (how === "died") pass(KEY_LEASE_MS);
      else object.settleKey("k", false);
      expect(reserve("one", "b")).toEqual({ is: "reserved", taskIds: ["a"] });
      expect(reserve("one", "c")).toEqual({ is: "in-progress" });
    });
  });

  test("stays settled, whatever the first, whose lease has expired, reports later", async () => {
    await withKey((reserve, { object }) => {
      pass(KEY_LEASE_MS);
      expect(reserve("one", "b")).toEqual({ is: "reserved", taskIds: ["a"] });
      object.settleKey("k", true);
      object.settleKey("k", false);
      expect(reserve("one", "c")).toEqual({ is: "created", taskIds: ["a"] });
    });
  });

  test("with the same ids is reserved again: its reply was lost", async () => {
    await withKey((reserve, { object }) => {
      pass(KEY_LEASE_MS - 1);
      expect(reserve("one", "a")).toEqual({ is: "reserved", taskIds: ["a"] });
      // Its lease is renewed.
      pass(KEY_LEASE_MS - 1);
      expect(reserve("one", "b")).toEqual({ is: "in-progress" });
      expect(reserve("two", "a")).toEqual({ is: "used-by-another-request" });
      object.settleKey("k", true);
      expect(reserve("one", "a")).toEqual({ is: "created", taskIds: ["a"] });
    });
  });

  test("is a new request after a day", async () => {
    await withKey((reserve, { object }) => {
      object.settleKey("k", true);
      pass(KEY_TTL_MS);
      expect(reserve("two", "b")).toEqual({ is: "reserved", taskIds: ["b"] });
    });
  });
});

test("another request with the key is rejected, whether or not the first has created its tasks", async () => {
  await withKey((reserve, { object }) => {
    expect(reserve("two", "b")).toEqual({ is: "used-by-another-request" });
    object.settleKey("k", true);
    expect(reserve("two", "b")).toEqual({ is: "used-by-another-request" });
    pass(KEY_LEASE_MS);
    expect(reserve("two", "b")).toEqual({ is: "used-by-another-request" });
    expect(object.reserveKey("other", "two", ["b"])).toEqual({ is: "reserved", taskIds: ["b"] });
  });
});

test("each new key removes two expired ones, the oldest first, and no other", async () => {
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

test("keys are removed after a day, and not before", async () => {
  await withKey(async (_reserve, { object, storage }) => {
    pass(KEY_TTL_MS - 1);
    object.reserveKey("young", "one", ["b"]);
    const kept = () =>
      storage.sql
        .exec("SELECT key FROM key ORDER BY key")
        .toArray()
        .map(({ key }) => key);
    await object.rearm();
    expect(kept()).toEqual(["k", "young"]);
    pass(1);
    await object.rearm();
    expect(kept()).toEqual(["young"]);
  });
});
