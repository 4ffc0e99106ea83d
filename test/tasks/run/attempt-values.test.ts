/** Whatever code throws, returns, logs or reports: the attempt ends with what is right, and not as a crash. */
import { describe, expect, test } from "vitest";
import { NonRetryableError } from "../../../src/tasks/index.ts";
import type { TaskContext } from "../../../src/tasks/types/define.ts";
import { newType, runTasks, whenEnded } from "../../support/background.ts";
import { captureLogs } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";

keepQuiet();

let count = 0;

/** Runs a task in the fast lane. If its first attempt fails and may be retried, it is scheduled for later. */
async function run(code: (ctx: TaskContext) => Promise<unknown>) {
  const type = newType(`values-${++count}`, code, { retry: { minDelayMs: 600_000 } });
  const [task] = await runTasks([{ type, input: {} }]);
  expect(task).toMatchObject({ attempt: 1, crashes: 0 });
  return task ?? {};
}

const throws = (error: unknown) => async () => {
  throw error;
};
const revoked = () => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
};
const hostile = new Proxy(new Error("no"), {
  get: () => {
    throw new Error("not this way");
  },
  getPrototypeOf: () => {
    throw new Error("nor this way");
  },
});
class Quota extends NonRetryableError {}
const anyText = expect.any(String);

describe("the error of an attempt that throws", () => {
  test.each<[string, unknown, { name?: unknown; message: unknown }]>([
    [
      "an error whose message is an object",
      Object.assign(new Error(), { message: { code: 42 } }),
      { name: "Error", message: '{"code":42}' },
    ],
    [
      "an error whose name is a megabyte",
      Object.assign(new Error("no"), { name: "x".repeat(1e6) }),
      { message: "no" },
    ],
    [
      "an error whose message is a megabyte",
      new Error("x".repeat(1e6)),
      { message: expect.stringMatching(/^x{1000}/) },
    ],
    [
      "an error whose name is a symbol",
      Object.assign(new Error("no"), { name: Symbol("a") }),
      { name: "Error", message: "no" },
    ],
    [
      "an error whose message cannot be read",
      Object.defineProperty(new Error("no"), "message", {
        get: () => {
          throw new Error("not this");
        },
      }),
      { message: anyText },
    ],
    [
      "an error whose cause is itself",
      (() => {
        const error = new Error("no");
        error.cause = error;
        return error;
      })(),
      { message: "no" },
    ],
    ["an object with a message", { code: 429, message: "quota" }, { name: "Error", message: "quota" }],
    ["an object without a message", { code: 429 }, { name: "Error", message: '{"code":429}' }],
    ["an object without a prototype", Object.create(null), { message: "{}" }],
    ["an array", [1, 2], { message: "[1,2]" }],
    [
      "an error with a URL that has secrets",
      new Error("GET https://user:secret@api.example.com/v1?key=secret failed"),
      { message: "GET https://api.example.com/v1?… failed" },
    ],
    ["a text", "no", { name: "Error", message: "no" }],
    ["ten megabytes of text", "x".repeat(1e7), { message: expect.stringMatching(/^x{1000}/) }],
    ["half a character", "\ud83d", { message: "\ufffd" }],
    ["undefined", undefined, { message: "undefined" }],
    ["null", null, { message: "null" }],
    ["a symbol", Symbol("no"), { message: "Symbol(no)" }],
    ["a BigInt", 1n, { message: "1n" }],
    ["a function", () => 1, { message: anyText }],
    ["a promise", Promise.resolve(1), { message: anyText }],
    ["a revoked proxy", revoked(), { message: anyText }],
    ["a proxy that throws whatever one asks it", hostile, { message: anyText }],
    ["an error of a DOM", new DOMException("no", "AbortError"), { name: "AbortError", message: "no" }],
  ])("%s says what it was, and the attempt is retried", async (_name, error, shown) => {
    const task = await run(throws(error));
    expect(task).toMatchObject({ status: "scheduled", error: shown });
    expect(JSON.stringify(task).length).toBeLessThan(10_000);
  });

  test.each<[string, () => unknown, string]>([
    [
      "whose message is an object",
      () => Object.assign(new NonRetryableError(), { message: { code: 42 } }),
      '{"code":42}',
    ],
    ["of a class that extends it", () => new Quota("used up"), "used up"],
    [
      "with a name of its own",
      () => Object.defineProperty(new NonRetryableError("no"), "name", { value: 7 }),
      "no",
    ],
    [
      "whose message cannot be read",
      () =>
        Object.defineProperty(new NonRetryableError("no"), "message", {
          get: () => {
            throw new Error("not this");
          },
        }),
      "",
    ],
  ])("a NonRetryableError %s is final", async (_name, error, message) => {
    const task = await run(async () => {
      throw error();
    });
    expect(task).toMatchObject({ status: "failed", error: { message: expect.stringContaining(message) } });
  });
});

describe("a result that JSON cannot hold fails the task for good, and names the place", () => {
  test.each<[string, unknown, string]>([
    ["a Map", new Map([["a", 1]]), "result: a Map is not JSON"],
    ["NaN in an object", { ratio: Number.NaN }, "result.ratio: NaN is not JSON"],
    ["bytes in an array", [new Uint8Array(2)], "result[0]: a Uint8Array is not JSON"],
    ["a promise in an object", { items: [Promise.resolve(1)] }, "result.items[0]: a Promise is not JSON"],
    ["what throws when it is read", { toJSON: throwing }, "result cannot be read"],
    ["a BigInt", { n: 1n }, "result.n: a bigint is not JSON"],
  ])("%s", async (_name, result, message) => {
    const task = await run(async () => result);
    expect(task).toMatchObject({ status: "failed", error: { message: expect.stringContaining(message) } });
  });

  test("a step whose result is not JSON is not done four times", async () => {
    let done = 0;
    const task = await run(async (ctx) =>
      ctx.step("charge", async () => {
        done++;
        return { paid: Number.NaN };
      }),
    );
    expect(task).toMatchObject({
      status: "failed",
      error: { message: expect.stringContaining('step "charge": result.paid') },
    });
    expect(done).toBe(1);
  });
});

function throwing(): never {
  throw new Error("no");
}

describe("telling about work never fails it", () => {
  const circular: Record<string, unknown> = { n: 1 };
  circular.self = circular;

  test.each<[string, (ctx: TaskContext) => void]>([
    ["a BigInt", (ctx) => ctx.log("info", "done", { v: 10n })],
    ["an object that contains itself", (ctx) => ctx.log("info", "done", circular)],
    [
      "a getter that throws",
      (ctx) => ctx.log("info", "done", Object.defineProperty({}, "v", { get: throwing, enumerable: true })),
    ],
    ["a toJSON that throws", (ctx) => ctx.log("info", "done", { v: { toJSON: throwing } })],
    ["a revoked proxy", (ctx) => ctx.log("info", "done", revoked())],
    ["fields that are not an object", (ctx) => ctx.log("info", "done", 5 as never)],
    ["fields that are null", (ctx) => ctx.log("info", "done", null as never)],
    ["a message that is not text", (ctx) => ctx.log("info", Symbol("done") as never)],
    ["a level that does not exist", (ctx) => ctx.log("debug" as never, "done")],
    ["ten megabytes", (ctx) => ctx.log("info", "x".repeat(1e7), { v: "x".repeat(1e7) })],
  ])("%s in a log line", async (_name, tell) => {
    const { value: task, lines } = await captureLogs(async () =>
      run(async (ctx) => {
        tell(ctx);
        return "done";
      }),
    );
    expect(task).toMatchObject({ status: "succeeded", result: "done" });
    expect(lines).toEqual([expect.objectContaining({ taskId: task.id, attempt: 1, type: task.type })]);
    expect(JSON.stringify(lines).length).toBeLessThan(100_000);
  });

  test("a log line keeps the ids of its task, whatever fields are given", async () => {
    const { value: task, lines } = await captureLogs(async () =>
      run(async (ctx) => ctx.log("info", "done", { taskId: "another", attempt: 9 })),
    );
    expect(lines).toMatchObject([{ taskId: task.id, attempt: 1 }]);
  });

  test.each([1.0000000000000002, Number.NaN, -1, Infinity, "half", 1n, null])(
    "progress of %s",
    async (ratio) => {
      const task = await run(async (ctx) => {
        ctx.progress(ratio as number, { toString: throwing } as never);
        return "done";
      });
      expect(task).toMatchObject({ status: "succeeded", result: "done" });
    },
  );
});

test("steps that go on when the code has failed are recorded before the attempt ends", async () => {
  let done = 0;
  const type = newType(
    "values-both",
    async (ctx) =>
      Promise.all([
        ctx.step("long", async () => {
          await scheduler.wait(150);
          return ++done;
        }),
        ctx.step("short", async () => {
          if (ctx.attempt === 1) throw new Error("not yet");
          return "done";
        }),
      ]),
    { retry: { retries: 1, minDelayMs: 0, maxDelayMs: 0 }, lane: "long" },
  );
  const [task] = await runTasks([{ type, input: {} }]);
  expect(await whenEnded(String(task?.id))).toMatchObject({
    status: "succeeded",
    attempt: 2,
    result: [1, "done"],
  });
  expect(done).toBe(1);
});
