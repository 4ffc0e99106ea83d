/** The list of the objects that exist: none is lost, however many write it at once. */
import { env, reset, runInDurableObject } from "cloudflare:test";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Registration, registeredObjects } from "../../src/kernel/object-registry.ts";
import { captureLogs } from "../support/call.ts";

beforeEach(() => reset());
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

/** Registers an object, `times` times, and waits until that is over. */
const register = async (name: string, variables: Partial<Env> = {}, times = 1) =>
  runInDurableObject(env.UPLOAD_SESSION.getByName(name), async (_, ctx) => {
    const pending: Promise<unknown>[] = [];
    const observed = {
      id: ctx.id,
      storage: ctx.storage,
      waitUntil: (one: Promise<unknown>) => pending.push(one),
    };
    const registration = new Registration(
      observed as unknown as DurableObjectState,
      Object.assign({}, env, variables),
      "UPLOAD_SESSION",
    );
    for (let i = 0; i < times; i++) registration.ensure();
    await Promise.all(pending);
    return pending.length;
  });

test("a new deployment has none", async () => {
  expect(await registeredObjects(env)).toEqual([]);
});

test("objects that register at the same time are all listed, each once", async () => {
  const wait = scheduler.wait.bind(scheduler);
  vi.spyOn(scheduler, "wait").mockImplementation(async (ms) => wait(ms / 100));
  const names = ["a", "b", "c", "d", "e"];
  await Promise.all(names.map(async (name) => register(name)));
  expect(await registeredObjects(env)).toEqual(names.map((name) => `UPLOAD_SESSION/${name}`));
});

test("an object registers once, soon again after a restart, and then once a week", async () => {
  expect(await register("a", {}, 3)).toBe(1);
  expect(await register("a")).toBe(0);
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 6 * 60_000 });
  expect(await register("a", {}, 3)).toBe(1);
  vi.setSystemTime(Date.now() + 6 * 86_400_000);
  expect(await register("a")).toBe(0);
  await env.FILES.delete("sluice/objects.json");
  vi.setSystemTime(Date.now() + 2 * 86_400_000);
  expect(await register("a")).toBe(1);
  expect(await registeredObjects(env)).toEqual(["UPLOAD_SESSION/a"]);
});

test("what a later version has written stays", async () => {
  await env.FILES.put("sluice/objects.json", JSON.stringify({ objects: ["LATER/x"], since: 1 }));
  await register("a");
  const text = await (await env.FILES.get("sluice/objects.json"))?.text();
  expect(JSON.parse(text ?? "")).toEqual({ objects: ["LATER/x", "UPLOAD_SESSION/a"], since: 1 });
});

test.each(["", "{", "[]", '{"objects":7}'])("a list that is %j is begun anew", async (text) => {
  vi.spyOn(scheduler, "wait").mockResolvedValue();
  await env.FILES.put("sluice/objects.json", text);
  await captureLogs(async () => register("a"));
  expect(await registeredObjects(env)).toEqual(["UPLOAD_SESSION/a"]);
});

test("each jurisdiction has a list of its own", async () => {
  await register("a", { JURISDICTION: "eu" });
  expect(await registeredObjects(env)).toEqual([]);
  expect(await registeredObjects(Object.assign({}, env, { JURISDICTION: "eu" }))).toEqual([
    "UPLOAD_SESSION/a",
  ]);
});

test("while R2 is away, an object goes on, and says so", async () => {
  vi.spyOn(scheduler, "wait").mockResolvedValue();
  const away = { get: async () => Promise.reject(new Error("away")) };
  const { value, lines } = await captureLogs(async () =>
    register("a", { FILES: away as unknown as R2Bucket }, 2),
  );
  expect([value, lines]).toMatchObject([
    1,
    [{ level: "warn", object: "UPLOAD_SESSION/a", error: "Error: away" }],
  ]);
});
