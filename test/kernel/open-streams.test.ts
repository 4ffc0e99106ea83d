import { describe, expect, test, vi } from "vitest";
import { OpenStreams } from "../../src/kernel/open-streams.ts";
import { callForJson, callWorker } from "../support/call.ts";
import { keepQuiet } from "../support/quiet.ts";

keepQuiet();

const SHARE = 32;
const tokenOf = (name: string) => `${name}-token-0123456789-0123456789-0123456789`;
const as = (name: string) => ({
  site: "https://sluice.example.com",
  variables: {
    ACCESS: "tokens",
    SLUICE_TOKENS: ["a", "b", "c"].map((each) => ({
      name: each,
      scopes: ["read", "write"],
      token: tokenOf(each),
    })),
  },
  headers: { Authorization: `Bearer ${tokenOf(name)}` },
});

describe("streams of one object", () => {
  const openAll = (streams: OpenStreams, caller: string, count: number) =>
    Array.from({ length: count }, () => {
      const stream = streams.open(caller);
      return stream === "too-many" ? expect.fail() : stream;
    });

  test("a caller may have its share, and another has its own", () => {
    const streams = new OpenStreams();
    openAll(streams, "a", SHARE);
    expect(streams.open("a")).toBe("too-many");
    openAll(streams, "b", SHARE);
    expect(streams.open("b")).toBe("too-many");
  });

  test("one that is closed counts no longer, and only once", async () => {
    const streams = new OpenStreams();
    const [first] = openAll(streams, "a", SHARE);
    const reading = new Response(first?.readable).text();
    await first?.close();
    await reading;
    await first?.close().catch(() => undefined);
    openAll(streams, "a", 1);
    expect(streams.open("a")).toBe("too-many");
  });

  test("one whose reader has gone counts no longer once something is written to it", async () => {
    const streams = new OpenStreams();
    const [first] = openAll(streams, "a", SHARE);
    await first?.readable.cancel();
    await expect(first?.write("x")).rejects.toThrow();
    openAll(streams, "a", 1);
  });

  test("one whose reader takes nothing for a minute is ended", async () => {
    vi.useFakeTimers();
    try {
      const streams = new OpenStreams();
      const [first] = openAll(streams, "a", SHARE);
      const writing = expect(first?.write("x")).rejects.toThrow("takes nothing");
      await vi.advanceTimersByTimeAsync(59_000);
      expect(streams.open("a")).toBe("too-many");
      await vi.advanceTimersByTimeAsync(1_000);
      await writing;
      openAll(streams, "a", 1);
    } finally {
      vi.useRealTimers();
    }
  });
});

test.each(["/upstreams/none/events", "/tasks/s0-01a2189d-1daf-7039-8384-6b825fdee72c/events"])(
  "HEAD %s is a 404 as GET is",
  async (path) => {
    expect((await callWorker(path, { ...as("c"), method: "HEAD" })).response.status).toBe(404);
  },
);

describe.each(["everything", "an upstream", "a task"])("streams of %s", (kind) => {
  async function pathOf(): Promise<string> {
    if (kind === "everything") return "/events?kinds=schedules";
    if (kind === "an upstream") return "/upstreams/watched/events";
    const { body } = await callForJson("/tasks", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ type: "task_a", delay: 3600 }),
    });
    return `/tasks/${String(body.id)}/events`;
  }

  test("beyond a token's share are a 429 that says when to try again; another token is not affected", async () => {
    const path = await pathOf();
    const open = async (name: string) => (await callWorker(path, as(name))).response;
    const streams = await Promise.all(Array.from({ length: SHARE }, async () => open("a")));
    expect(streams.map(({ status }) => status)).toEqual(Array(SHARE).fill(200));
    const { status, headers, body } = await callForJson(path, as("a"));
    expect([status, body.type, body.detail]).toEqual([
      429,
      "urn:sluice:problem:too-many-requests",
      expect.stringContaining("32 event streams"),
    ]);
    expect(headers.get("Retry-After")).toBe("15");
    expect(headers.get("RateLimit-Policy")).toBe('"event-streams";q=32;qu="concurrent-requests"');
    expect(headers.get("RateLimit")).toBe('"event-streams";r=0;t=15');
    const other = await open("b");
    expect(other.status).toBe(200);
    await Promise.all([...streams, other].map(async (stream) => stream.body?.cancel()));
  });

  test("are not opened by HEAD: nobody would read them", async () => {
    const path = await pathOf();
    for (let i = 0; i <= SHARE; i++) {
      const { response } = await callWorker(path, { ...as("c"), method: "HEAD" });
      expect([response.status, response.body]).toEqual([200, null]);
      expect(response.headers.get("Content-Type")).toBe("text/event-stream");
    }
  });
});
