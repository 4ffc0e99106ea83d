/** The events of an upstream with several shards: one stream from those of all. */
import { abortAllDurableObjects, env, reset } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { ShardStatus } from "../../src/outbound/semaphore/status.ts";
import { MergedStatuses } from "../../src/outbound/watch.ts";
import { type CallOptions, callForJson, callWorker, captureLogs } from "../support/call.ts";
import { EventReader } from "../support/events.ts";
import { keepQuiet } from "../support/quiet.ts";
import { expectRuntimeErrors } from "../support/runtime-errors.ts";
import { acquireFrom } from "../support/upstreams.ts";

keepQuiet();
expectRuntimeErrors("it is away", "aborted", "broken", "Network connection lost", "destroyed");

const shardOf = (shard: number) => env.SEMAPHORE.getByName(`sharded#${shard}`);
const subscribe = async (options?: CallOptions) => {
  const { response } = await callWorker("/upstreams/sharded/events", options);
  if (!response.body) throw new Error("There is no body.");
  return new EventReader(response.body);
};

describe("GET /upstreams/{name}/events", () => {
  beforeEach(() => reset());

  test("begins with the whole status, once, as GET /upstreams/{name} has it", async () => {
    const reader = await subscribe();
    const first = await reader.next();
    expect([first?.id, first?.event]).toEqual([1, "status"]);
    expect(first?.data).toEqual((await callForJson("/upstreams/sharded")).body);
    await reader.cancel();
  });

  test("sends an event after a change of any shard", async () => {
    const reader = await subscribe();
    await reader.next();
    await acquireFrom("sharded#3", "a");
    expect((await reader.next())?.data).toMatchObject({ held: { count: 1, leases: [{ id: "a" }] } });
    await acquireFrom("sharded#0", "b");
    expect((await reader.next())?.data).toMatchObject({ held: { count: 2 } });
    await shardOf(3).release("a", { outcome: "ok" });
    expect((await reader.next())?.data).toMatchObject({
      held: { count: 1 },
      totals: { outcomes: { ok: 1 } },
    });
    await reader.cancel();
  });

  test("breaks off when a shard restarts, so that its reader comes back", async () => {
    const reader = await subscribe();
    await reader.next();
    await abortAllDurableObjects();
    await expect(
      (async () => {
        while (await reader.next());
      })(),
    ).rejects.toThrow();
  });

  test("says which shard does not respond, and shows the others", async () => {
    const away = async () => Promise.reject(Object.assign(new Error("it is away"), { remote: true }));
    const SEMAPHORE = {
      idFromName: (name: string) => env.SEMAPHORE.idFromName(name),
      getByName: (name: string) => (name === "sharded#1" ? { events: away } : env.SEMAPHORE.getByName(name)),
    };
    const { value: reader } = await captureLogs(async () => subscribe({ variables: { SEMAPHORE } }));
    expect((await reader.next())?.data).toMatchObject({ concurrency: 6, shards: { lost: [1] } });
    await reader.cancel();
  });

  test("counts as one stream of the token at each shard", async () => {
    const readers: EventReader[] = [];
    for (let i = 0; i < 32; i++) readers.push(await subscribe());
    expect((await callForJson("/upstreams/sharded/events")).status).toBe(429);
    await Promise.all(readers.map(async (reader) => reader.cancel()));
  });
});

describe("a merged stream", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["Date", "setTimeout", "clearTimeout"] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const status = (held: number) => ({ ...IDLE_STATUS, held: { count: held, leases: [] } }) as ShardStatus;
  const eventOf = (held: number) => `id: 1\nevent: status\ndata: ${JSON.stringify(status(held))}\n\n`;

  class Shard {
    readonly #stream = new TransformStream<Uint8Array, Uint8Array>();
    readonly #writer = this.#stream.writable.getWriter();
    readonly readable = this.#stream.readable;
    /** What it responds when it is asked for its status. */
    held = 0;
    asked = 0;

    send(text: string): void {
      this.#writer.write(new TextEncoder().encode(text)).catch(() => {});
    }

    end(): void {
      this.#writer.close().catch(() => {});
    }
  }

  function merge(...shards: (Shard | undefined)[]) {
    const askAgain = async (shard: number) => {
      const one = shards[shard];
      if (!one) throw new Error("There is no such shard.");
      one.asked++;
      return status(one.held);
    };
    const merged = new MergedStatuses(
      shards.map((one) => one?.readable),
      askAgain,
    );
    const seen: string[] = [];
    const reading = (async () => {
      const decoder = new TextDecoder();
      for await (const chunk of merged.readable) seen.push(decoder.decode(chunk));
      seen.push("end");
    })();
    const counts = () =>
      seen.map((text) => /"held":\{"count":(\d+)/.exec(text)?.[1] ?? text).map((text) => text.trim());
    return { counts, reading };
  }
  const pass = async (ms: number) => vi.advanceTimersByTimeAsync(ms);

  test("sends its first event when each shard has sent one, in whatever pieces", async () => {
    const [a, b] = [new Shard(), new Shard()];
    const { counts } = merge(a, b);
    a.send(eventOf(1));
    await pass(1_000);
    expect(counts()).toEqual([]);
    b.send(eventOf(2).slice(0, 30));
    await pass(1_000);
    b.send(eventOf(2).slice(30));
    await pass(1);
    expect(counts()).toEqual(["3"]);
  });

  test("sends one event for changes that come close together", async () => {
    const [a, b] = [new Shard(), new Shard()];
    const { counts } = merge(a, b);
    for (const shard of [a, b]) shard.send(eventOf(0));
    await pass(1);
    for (let held = 1; held <= 3; held++) for (const shard of [a, b]) shard.send(eventOf(held));
    await pass(200);
    expect(counts()).toEqual(["0", "6"]);
  });

  test("ends when all shards have, and its reader comes back when theirs would", async () => {
    const [a, b] = [new Shard(), new Shard()];
    const { counts, reading } = merge(a, b);
    for (const shard of [a, b]) shard.send(eventOf(0));
    await pass(1);
    for (const shard of [a, b]) {
      shard.send("retry: 60000\n\n");
      shard.end();
    }
    await reading;
    expect(counts()).toEqual(["0", "retry: 60000", "end"]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("asks a shard now and then whose stream has ended before the others", async () => {
    const [a, b] = [new Shard(), new Shard()];
    const { counts } = merge(a, b);
    for (const shard of [a, b]) shard.send(eventOf(0));
    await pass(1);
    b.end();
    b.held = 5;
    for (let second = 0; second < 12; second++) {
      a.send(eventOf(1));
      await pass(1_000);
    }
    expect(b.asked).toBe(2);
    expect([counts()[1], counts().at(-1)]).toEqual(["1", "6"]);
  });

  test("ends after a while if it lacks a shard, so that its reader asks for that again", async () => {
    const a = new Shard();
    const { counts, reading } = merge(a, undefined);
    a.send(eventOf(2));
    await pass(14_000);
    a.send(eventOf(3));
    await pass(1_000);
    expect(counts()).toEqual(["2", "3"]);
    a.send(eventOf(4));
    await pass(1_000);
    await reading;
    expect(counts()).toEqual(["2", "3", "4", "end"]);
  });
});

const IDLE_STATUS: ShardStatus = {
  name: "api",
  concurrency: 10,
  limitNow: 10,
  adaptiveLimit: null,
  rate: null,
  paused: false,
  overridden: [],
  obstacle: null,
  breaker: "closed",
  held: { count: 0, leases: [] },
  waiting: { count: 0, callers: [] },
  totals: {
    since: "2026-01-01T00:00:00.000Z",
    granted: 0,
    handedOn: 0,
    expired: 0,
    retries: 0,
    retriesRefused: 0,
    outcomes: { ok: 0, overloaded: 0, failed: 0, unknown: 0 },
    refused: {
      "queue-full": 0,
      "too-many-requests": 0,
      "wait-limit": 0,
      paused: 0,
      "breaker-open": 0,
      "too-heavy": 0,
    },
    waits: [],
  },
  latencyMs: null,
};
