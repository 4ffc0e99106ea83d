/** Many streams of server-sent events as one. */
import { describe, expect, test, vi } from "vitest";
import { mergeEvents, type Watched } from "../../src/kernel/merged-events.ts";
import { EventReader } from "../support/events.ts";
import { expectRuntimeErrors } from "../support/runtime-errors.ts";

expectRuntimeErrors("reader canceled");

const encoder = new TextEncoder();

/** An object whose stream the test writes. */
function watched(name: string, status?: string) {
  const { readable, writable } = new IdentityTransformStream();
  const writer = writable.getWriter();
  const one: Watched = { name, ...(status && { status }), open: async () => readable };
  const send = async (event: string, data: unknown) =>
    writer.write(encoder.encode(`id: 7\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`));
  return { one, writer, send };
}

async function merged(...all: Watched[]): Promise<ReadableStream<Uint8Array>> {
  const stream = await mergeEvents(all);
  return stream === "too-many" ? expect.fail() : stream;
}

const begin = (...lacking: string[]) => ({ id: Number.NaN, event: "begin", data: { lacking } });

describe("merged events", () => {
  test("are those of all objects, whole, without their numbers", async () => {
    const [a, b] = [watched("a"), watched("b", "upstream")];
    const reader = new EventReader(await merged(a.one, b.one));
    expect(await reader.next()).toEqual(begin());
    const seen = [];
    const sent = Promise.all([a.send("tasks", { n: 1 }), b.send("status", { n: 2 })]);
    for (let i = 0; i < 2; i++) seen.push(await reader.next());
    await sent;
    expect(seen).toContainEqual({ id: Number.NaN, event: "tasks", data: { n: 1 } });
    expect(seen).toContainEqual({ id: Number.NaN, event: "upstream", data: { n: 2 } });
    await reader.cancel();
  });

  test("an event that comes in pieces is passed on whole", async () => {
    const a = watched("a");
    const reader = new EventReader(await merged(a.one));
    await reader.next();
    const sent = (async () => {
      for (const piece of ["event: ta", 'sks\ndata: {"t":"é', '"}\n', "\n"])
        await a.writer.write(encoder.encode(piece));
    })();
    expect((await reader.next())?.data).toEqual({ t: "é" });
    await sent;
    await reader.cancel();
  });

  test("say which objects do not respond, and go on with the others", async () => {
    const a = watched("a");
    const lost: Watched = { name: "lost", open: async () => Promise.reject(new Error("gone")) };
    const reader = new EventReader(await merged(lost, a.one));
    expect(await reader.next()).toEqual(begin("lost"));
    const sent = a.send("tasks", {});
    expect((await reader.next())?.event).toBe("tasks");
    await sent;
    await reader.cancel();
  });

  test("if a caller has its share of one, it gets none, and the others are closed", async () => {
    const a = watched("a");
    const full: Watched = { name: "full", open: async () => "too-many" };
    expect(await mergeEvents([a.one, full])).toBe("too-many");
    await expect(a.send("tasks", {})).rejects.toBeDefined();
  });

  test("when all have ended, the stream says so, and ends", async () => {
    const [a, b] = [watched("a"), watched("b")];
    const reader = new EventReader(await merged(a.one, b.one));
    await reader.next();
    await Promise.all([a.writer.close(), b.writer.close()]);
    expect((await reader.next())?.event).toBe("idle");
    expect(await reader.next()).toBeUndefined();
  });

  test("one that is full when it is asked again leaves the others, with which the stream ends", async () => {
    const pause = vi.spyOn(scheduler, "wait").mockResolvedValue();
    const [a, b] = [watched("a"), watched("b")];
    let asked = 0;
    const full: Watched = { ...a.one, open: async () => (++asked === 1 ? a.one.open() : "too-many") };
    const reader = new EventReader(await merged(full, b.one));
    await reader.next();
    await a.writer.close();
    await expect.poll(() => asked).toBe(2);
    const sent = b.send("tasks", {});
    expect((await reader.next())?.event).toBe("tasks");
    await sent;
    await b.writer.close();
    expect((await reader.next())?.event).toBe("idle");
    expect(await reader.next()).toBeUndefined();
    pause.mockRestore();
  });

  test("one that breaks breaks the stream, and closes the others", async () => {
    const [a, b] = [watched("a"), watched("b")];
    const reader = new EventReader(await merged(a.one, b.one));
    await reader.next();
    await a.writer.abort(new Error("restarted"));
    await expect(reader.next()).rejects.toBeDefined();
    await expect(b.send("tasks", {})).rejects.toBeDefined();
  });

  test("when the reader goes, the streams of the objects are closed", async () => {
    const a = watched("a");
    const reader = new EventReader(await merged(a.one));
    await reader.next();
    await reader.cancel();
    // The first write may still be taken: that the reader has gone shows when it is passed on.
    const until = async () => {
      for (;;) await a.send("tasks", {});
    };
    await expect(until()).rejects.toBeDefined();
  });
});
