/** `Prefer: wait=N`: the response is the task itself, if it ends in time. */

import { env, evictDurableObject, reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { waitForTask } from "../../../src/tasks/http/wait.ts";
import { defineTask, NonRetryableError, registerTaskTypes } from "../../../src/tasks/index.ts";
import { ledgerOf } from "../../../src/tasks/ledger/shards.ts";
import { newTaskId } from "../../../src/tasks/ledger/task-id.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { begin, brokenLedger, changedLedger, submit, submitted, taskOf } from "../../support/submissions.ts";

let gate = Promise.withResolvers<string>();
registerTaskTypes([
  defineTask({ name: "wait_echo", input: z.unknown(), run: async (_ctx, given) => given }),
  defineTask({
    name: "wait_fails",
    input: z.unknown(),
    run: async () => {
      throw new NonRetryableError("no");
    },
  }),
  defineTask({
    name: "wait_progress",
    input: z.unknown(),
    async run(ctx) {
      ctx.progress(0.5);
      return gate.promise;
    },
  }),
  defineTask({ name: "wait_gate", input: z.unknown(), run: async () => gate.promise }),
]);

const ECHO = { type: "wait_echo", input: { n: 1 } };
const LATER = { ...ECHO, delay: 3600 };
const send = (body: unknown, prefer: string, variables: Record<string, unknown> = {}) =>
  submit(body, { variables, headers: { Prefer: prefer } });

keepQuiet();
beforeEach(async () => {
  gate = Promise.withResolvers<string>();
  await reset();
});

describe("POST /tasks with Prefer: wait", () => {
  test.each([
    ["wait=5", "wait=5"],
    ['wait="5"', "wait=5"],
    ["respond-async, wait=5", "wait=5"],
    ["wait=1000", "wait=60"],
  ])("%s returns the ended task", async (prefer, applied) => {
    const { status, headers, body } = await send(ECHO, prefer);
    expect([status, headers.get("Preference-Applied")]).toEqual([200, applied]);
    expect(body).toEqual(await taskOf(String(body.id)));
    expect(body).toMatchObject({ status: "succeeded", result: { n: 1 } });
    expect(headers.get("Location")).toBe(`http://localhost/tasks/${String(body.id)}`);
    expect([headers.has("Retry-After"), headers.get("Cache-Control")]).toEqual([false, "no-store"]);
  });

  test("returns a task that has failed", async () => {
    const { status, headers, body } = await send({ type: "wait_fails" }, "wait=5");
    expect([status, headers.get("Preference-Applied")]).toEqual([200, "wait=5"]);
    expect(body).toMatchObject({ status: "failed", error: { name: "NonRetryableError", message: "no" } });
  });

  test.each([0, 1])("returns the usual 202 after %i s if the task has not ended by then", async (seconds) => {
    const { status, headers, body } = await send(LATER, `wait=${seconds}`);
    const id = String(body.id);
    expect([status, body]).toEqual([202, { id, url: `http://localhost/tasks/${id}` }]);
    expect(headers.get("Preference-Applied")).toBe(`wait=${seconds}`);
    expect(headers.get("Location")).toBe(body.url);
    expect(Number(headers.get("Retry-After"))).toBeGreaterThan(3500);
  });

  test.each(["wait=soon", "return=minimal", "wait=-1"])(
    "%s is not understood, and so not applied",
    async (prefer) => {
      const { status, headers } = await send(ECHO, prefer);
      expect([status, headers.has("Preference-Applied"), headers.get("Retry-After")]).toEqual([
        202,
        false,
        "1",
      ]);
    },
  );

  test("shows pages of other sites that it was applied, too", async () => {
    const origin = "https://app.example.com";
    const headers = { Prefer: "wait=5", Origin: origin };
    const reply = await submit(ECHO, { headers, variables: { CORS_ORIGINS: [origin] } });
    const exposed = reply.headers.get("Access-Control-Expose-Headers")?.split(",");
    expect(exposed).toEqual(expect.arrayContaining(["Location", "Retry-After"]));
    expect(exposed).toContain("Preference-Applied");
  });

  test("does not apply to a batch", async () => {
    const { status, headers } = await send([LATER], "wait=30");
    expect([status, headers.has("Preference-Applied")]).toEqual([202, false]);
  });

  test("returns the usual 202 if the ledger cannot be reached: the task is stored", async () => {
    const { status, body } = await send(LATER, "wait=0", brokenLedger("wait"));
    expect(status).toBe(202);
    expect(await taskOf(String(body.id))).toMatchObject({ status: "scheduled" });
  });
});

describe("waiting for a task", () => {
  test("ends as soon as the task does", async () => {
    const id = await begin({ type: "wait_gate" });
    const waiting = waitForTask(env, id, 20_000);
    const beganAtMs = Date.now();
    gate.resolve("done");
    expect(await waiting).toMatchObject({ id, status: "succeeded", result: "done" });
    expect(Date.now() - beganAtMs).toBeLessThan(5_000);
    expect(await waitForTask(env, id, 0)).toMatchObject({ status: "succeeded" });
  });

  test("does not end with other changes", async () => {
    const id = await begin({ type: "wait_progress" });
    let isOver = false;
    const waiting = waitForTask(env, id, 20_000).finally(() => {
      isOver = true;
    });
    await expect.poll(() => taskOf(id)).toMatchObject({ progress: { ratio: 0.5 } });
    expect(isOver).toBe(false);
    gate.resolve("done");
    expect(await waiting).toMatchObject({ id, status: "succeeded" });
  });

  test("continues after a restart of the ledger", async () => {
    const id = await submitted(LATER);
    let asked = 0;
    const variables = changedLedger({
      wait: async (_shard, call) => {
        if (++asked === 1) throw new Error("the shard restarts");
        return call();
      },
    });
    const waiting = waitForTask({ ...env, ...variables } as unknown as Env, id, 20_000);
    const ledger = ledgerOf(env, id);
    if (!ledger) throw new Error("no ledger");
    await evictDurableObject(ledger);
    await ledgerOf(env, id)?.cancel(id);
    expect([await waiting, asked]).toMatchObject([{ id, status: "cancelled" }, 2]);
  });

  test("ends at once when the ledger is overloaded, which further calls would prolong", async () => {
    const id = await submitted(LATER);
    let asked = 0;
    const overloaded = Object.assign(new Error("overloaded"), { overloaded: true });
    const variables = changedLedger({
      wait: async () => {
        asked++;
        throw overloaded;
      },
    });
    expect(await waitForTask({ ...env, ...variables } as unknown as Env, id, 2_000)).toBeUndefined();
    expect(asked).toBe(1);
  });

  test("does not wait for a task that does not exist", async () => {
    expect(await waitForTask(env, newTaskId("s0"), 20_000)).toBeUndefined();
    expect(await waitForTask(env, "nonsense", 20_000)).toBeUndefined();
  });
});
