/** Subscribers of an upstream get the whole status at once, and again after each change. */
import { env, reset } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Broadcast } from "../../src/kernel/broadcast.ts";
import { callForJson, callWorker } from "../support/call.ts";
import { EventReader } from "../support/events.ts";
import { keepQuiet } from "../support/quiet.ts";
import { resetUpstream } from "../support/scripted-upstream.ts";
import { acquireFrom } from "../support/upstreams.ts";

/** Longer than the shortest interval between two events. */
const A_WHILE_MS = 600;

const ofStatus = (read: () => unknown) => {
  const news = () => ({ event: "status", data: read() });
  return { whole: news, changes: news };
};

function streamOf(subscribers: Broadcast): ReadableStream<Uint8Array> {
  const stream = subscribers.subscribe("reader");
  return stream === "too-many" ? expect.fail() : stream;
}

describe("subscribers", () => {
  const watch = () => {
    const state = { n: 0 };
    const subscribers = new Broadcast(ofStatus(() => ({ ...state })));
    const change = () => {
      state.n++;
      subscribers.notify();
    };
    return { subscribers, change };
  };
  const numberOf = async (reader: EventReader) => (await reader.next())?.data.n;

  test("get the status at once", async () => {
    const { subscribers } = watch();
    const reader = new EventReader(streamOf(subscribers));
    expect(await reader.next()).toEqual({ id: 1, event: "status", data: { n: 0 } });
    await reader.cancel();
  });

  test("get one event for many changes that come together, with the latest status", async () => {
    const { subscribers, change } = watch();
    const reader = new EventReader(streamOf(subscribers));
    await reader.next();
    for (let n = 0; n < 100; n++) change();
    expect(await numberOf(reader)).toBe(100);
    change();
    expect(await numberOf(reader)).toBe(101);
    await reader.cancel();
  });

  test("get events with growing ids", async () => {
    const { subscribers, change } = watch();
    const reader = new EventReader(streamOf(subscribers));
    const ids = [(await reader.next())?.id ?? 0];
    for (let n = 0; n < 3; n++) {
      change();
      ids.push((await reader.next())?.id ?? 0);
    }
    expect(ids).toEqual(ids.toSorted((a, b) => a - b));
    expect(new Set(ids).size).toBe(4);
    await reader.cancel();
  });

  test("all get each event", async () => {
    const { subscribers, change } = watch();
    const readers = [1, 2, 3].map(() => new EventReader(streamOf(subscribers)));
    expect(await Promise.all(readers.map(numberOf))).toEqual([0, 0, 0]);
    change();
    expect(await Promise.all(readers.map(numberOf))).toEqual([1, 1, 1]);
    await Promise.all(readers.map(async (reader) => reader.cancel()));
  });

  test("get events even if another subscriber has gone or does not read", async () => {
    const { subscribers, change } = watch();
    const [gone, reader] = [new EventReader(streamOf(subscribers)), new EventReader(streamOf(subscribers))];
    const idle = streamOf(subscribers);
    await Promise.all([gone.next(), reader.next()]);
    await gone.cancel();
    for (let n = 1; n <= 3; n++) {
      change();
      expect(await numberOf(reader)).toBe(n);
    }
    await reader.cancel();
    await idle.cancel();
  });

  test("that are slow get the latest status when they read again, and nothing in between", async () => {
    const { subscribers, change } = watch();
    const [slow, quick] = [new EventReader(streamOf(subscribers)), new EventReader(streamOf(subscribers))];
    await quick.next();
    for (let n = 1; n <= 3; n++) {
      change();
      expect(await numberOf(quick)).toBe(n);
    }
    expect(await numberOf(slow)).toBe(0);
    expect(await Promise.race([numberOf(slow), scheduler.wait(A_WHILE_MS)])).toBe(3);
    await Promise.all([slow.cancel(), quick.cancel()]);
  });
});

describe("GET /upstreams/{name}/events", () => {
  keepQuiet();
  beforeEach(async () => {
    await reset();
    resetUpstream();
  });

  const subscribe = async () => {
    const { response } = await callWorker("/upstreams/watched/events");
    if (!response.body) throw new Error("There is no body.");
    return { headers: response.headers, reader: new EventReader(response.body) };
  };
  const semaphore = () => env.SEMAPHORE.getByName("watched");
  const acquire = async (leaseId: string) => acquireFrom("watched", leaseId);

  test("is an event stream that must not be stored", async () => {
    const { headers, reader } = await subscribe();
    expect(headers.get("Content-Type")).toMatch(/^text\/event-stream/);
    expect(headers.get("Cache-Control")).toBe("no-store");
    await reader.cancel();
  });

  test("sends the whole status at once, the same as GET /upstreams/{name}", async () => {
    const { reader } = await subscribe();
    const first = await reader.next();
    expect([first?.id, first?.event]).toEqual([1, "status"]);
    expect(first?.data).toEqual((await callForJson("/upstreams/watched")).body);
    await reader.cancel();
  });

  test("sends an event when a permit is granted, and when it is released", async () => {
    const { reader } = await subscribe();
    const first = await reader.next();
    await acquire("a");
    const second = await reader.next();
    expect(second?.data).toMatchObject({ held: { count: 1, leases: [{ id: "a" }] } });
    await semaphore().release("a", { outcome: "ok" });
    const third = await reader.next();
    expect(third?.data).toMatchObject({ held: { count: 0 }, totals: { outcomes: { ok: 1 } } });
    const ids = [first, second, third].map((event) => event?.id ?? 0);
    expect(ids).toEqual([...new Set(ids)].toSorted((a, b) => a - b));
    await reader.cancel();
  });

  test("sends an event when an operator changes a setting", async () => {
    const { reader } = await subscribe();
    await reader.next();
    await semaphore().configure({ paused: true });
    expect((await reader.next())?.data).toMatchObject({ paused: true, overridden: ["paused"] });
    await reader.cancel();
  });

  test("is silent while nothing changes", async () => {
    const { reader } = await subscribe();
    await reader.next();
    await callForJson("/upstreams/watched"); // reading is not a change
    expect(await Promise.race([reader.next(), scheduler.wait(A_WHILE_MS)])).toBeUndefined();
    await reader.cancel();
  });

  test("of an upstream that does not exist is a 404", async () => {
    expect((await callForJson("/upstreams/nobody/events")).status).toBe(404);
  });
});

describe("streams of an upstream that nobody calls end, since they would keep its semaphore awake", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["Date", "setInterval", "clearInterval", "setTimeout", "clearTimeout"] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** Reads a stream to its end. Returns its text, and after how many seconds it ended. */
  async function readToEnd(subscribers: Broadcast): Promise<{ text: string; endedAfterS: number }> {
    const beganAtMs = Date.now();
    const read = async () => {
      const text = await new Response(streamOf(subscribers)).text();
      return { text, endedAfterS: (Date.now() - beganAtMs) / 1_000 };
    };
    const reading = read();
    for (let n = 0; n < 400; n++) await vi.advanceTimersByTimeAsync(1_000);
    return reading;
  }

  test("five minutes after the last change, and their readers come back a minute later", async () => {
    const subscribers = new Broadcast(ofStatus(() => ({})));
    subscribers.notify();
    const { text, endedAfterS } = await readToEnd(subscribers);
    expect(endedAfterS).toBeGreaterThanOrEqual(300);
    expect(endedAfterS).toBeLessThan(310);
    expect(text.endsWith("retry: 60000\n\n")).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("soon, if there has been no change for so long before", async () => {
    const { text, endedAfterS } = await readToEnd(new Broadcast(ofStatus(() => ({ n: 7 }))));
    expect(endedAfterS).toBeLessThan(20);
    expect(text).toContain('data: {"n":7}');
    expect(vi.getTimerCount()).toBe(0);
  });
});
