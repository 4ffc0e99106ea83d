/** A client's body on its way to an upstream: sent whole, or broken off, and never taken for whole. */
import { env } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { startSilenceTimeout } from "../../../src/outbound/client/silence-timeout.ts";
import { readUpload, startUpload, uploadedChunks } from "../../../src/outbound/client/upload.ts";
import { callForJson, callWorker } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { resetUpstream } from "../../support/scripted-upstream.ts";
import { IDLE, loadOf } from "../../support/upstreams.ts";

keepQuiet();
expectRuntimeErrors(
  "the client broke off",
  "The request's body broke off",
  "No more of the request's body came",
  "The upstream was silent",
);
beforeEach(() => resetUpstream());

const bytes = (text: string) => new TextEncoder().encode(text);

/** A body of these chunks, each after a pause in ms. It then ends, or fails. */
function bodyOf(chunks: string[], { everyMs = 0, fails = false } = {}): ReadableStream<Uint8Array> {
  const left = chunks.map(bytes);
  return new ReadableStream(
    {
      async pull(controller) {
        await scheduler.wait(everyMs);
        const chunk = left.shift();
        if (chunk) controller.enqueue(chunk);
        else if (fails) controller.error(new Error("the client broke off"));
        else controller.close();
      },
    },
    { highWaterMark: 0 },
  );
}

const outcomes = async (name: string) => (await env.SEMAPHORE.getByName(name).status()).totals.outcomes;

describe("an upload that breaks off", () => {
  test.each([
    ["without a length", {}],
    ["with a length", { "Content-Length": "300000" }],
    ["with a length, small", { "Content-Length": "100" }],
  ])(
    "%s: the client has gone, the upstream gets no whole, and its breaker hears nothing",
    async (_name, headers) => {
      const before = await outcomes("upload-any");
      let got: string | undefined;
      resetUpstream(async (request) => {
        got = await request.text();
        return Response.json({});
      });
      for (let n = 0; n < 12; n++) {
        const body = bodyOf(["abc", "def"], { fails: true });
        const { status, body: problem } = await callForJson("/fetch/upload-any/x", {
          method: "POST",
          body,
          headers,
        });
        expect([status, problem.type]).toEqual([400, "urn:sluice:problem:client-gone"]);
      }
      expect(got).toBeUndefined();
      const after = await outcomes("upload-any");
      expect([after.failed - before.failed, after.ok - before.ok]).toEqual([0, 0]);
      expect(await loadOf("upload-any")).toEqual(IDLE);
      expect((await callForJson("/fetch/upload-any/x")).status).toBe(200);
    },
  );
});

describe("an upload that stalls", () => {
  test.each([
    ["without a length", {}],
    ["with a length", { "Content-Length": "300000" }],
    ["with a length, small", { "Content-Length": "100" }],
  ])("%s: 408, and its breaker hears nothing", async (_name, headers) => {
    const before = await outcomes("upload-timed");
    resetUpstream(async (request) => Response.json({ got: await request.text() }));
    const stall = async (everyMs: number) => {
      const body = bodyOf(["abc", "def"], { everyMs });
      const { status, body: problem } = await callForJson("/fetch/upload-timed/x", {
        method: "POST",
        body,
        headers,
      });
      expect([status, problem.type]).toEqual([408, "urn:sluice:problem:request-timeout"]);
    };
    await Promise.all(Array.from({ length: 12 }, async (_, n) => stall(n === 0 ? 2000 : 500)));
    expect((await outcomes("upload-timed")).failed).toBe(before.failed);
    expect(await loadOf("upload-timed")).toEqual(IDLE);
  });

  test("is not one that takes longer than timeout_ms, but keeps coming", async () => {
    resetUpstream(async (request) => new Response(await request.text()));
    const body = bodyOf("0123456789".split(""), { everyMs: 50 });
    const { response, settled } = await callWorker("/fetch/upload-timed/x", { method: "POST", body });
    expect([response.status, await response.text()]).toEqual([200, "0123456789"]);
    await settled();
  });

  test("of which the upstream takes nothing is a 504", async () => {
    resetUpstream(async () => {
      await scheduler.wait(10_000);
      return Response.json({});
    });
    const body = bodyOf(["x".repeat(100_000), "y".repeat(100_000)]);
    const { status, body: problem } = await callForJson("/fetch/upload-timed/x", { method: "POST", body });
    expect([status, problem.type]).toEqual([504, "urn:sluice:problem:upstream-timeout"]);
  });
});

describe("a client", () => {
  const limits = { minBytesPerSecond: 1000, windowMs: 100, maxMs: 1000 };
  const timeout = () => startSilenceTimeout(10_000, []);
  const all = async (body: ReadableStream<Uint8Array>) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of uploadedChunks(body, timeout(), limits)) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  };

  test("that sends too slowly is stopped", async () => {
    await expect(all(bodyOf(Array<string>(20).fill("a"), { everyMs: 20 }))).rejects.toMatchObject({
      kind: "request-timeout",
      detail: expect.stringContaining("1000 bytes a second"),
    });
  });

  test("that sends fast enough is not, whatever the size of its chunks", async () => {
    const chunks = Array<string>(10).fill("a".repeat(100));
    expect(await all(bodyOf(chunks, { everyMs: 20 }))).toHaveLength(1000);
  });

  test("is not charged for the time in which nobody asked it for more", async () => {
    let got = "";
    for await (const chunk of uploadedChunks(bodyOf(["a", "b", "c"]), timeout(), limits)) {
      got += Buffer.from(chunk).toString();
      await scheduler.wait(60);
    }
    expect(got).toBe("abc");
  });

  test("must come to an end", async () => {
    const chunks = Array<string>(100).fill("a".repeat(100));
    await expect(all(bodyOf(chunks, { everyMs: 25 }))).rejects.toMatchObject({ kind: "request-timeout" });
  });
});

describe("the length", () => {
  const sent = async (chunks: string[], bodyLength: number | undefined) => {
    const timeout = startSilenceTimeout(1000, []);
    const { body } = startUpload({ body: bodyOf(chunks), bodyLength }, timeout);
    const read = new Response(body).text().then(
      (text) => text,
      () => "broken off",
    );
    return Promise.race([
      read,
      new Promise((resolve) => {
        timeout.signal.addEventListener("abort", () => resolve(timeout.signal.reason));
      }),
    ]).finally(() => timeout.stop());
  };

  test.each([undefined, 6])("%s: the body is sent whole", async (length) => {
    expect(await sent(["abc", "def"], length)).toBe("abcdef");
  });

  test.each([1, 5, 7])("%i, of a body of 6 bytes: the call is aborted", async (length) => {
    expect(await sent(["abc", "def"], length)).toMatchObject({ kind: "malformed" });
  });
});

test("bytes are sent as they are, and so is no body", () => {
  const timeout = startSilenceTimeout(1000, []);
  const body = bytes("abc");
  const started = [startUpload({ body }, timeout), startUpload({ body: null }, timeout)];
  expect(started.map((upload) => upload.body)).toEqual([body, null]);
  timeout.stop();
});

test("an upload that is read into memory has the same limits", async () => {
  expect(Buffer.from(await readUpload(bodyOf(["abc", "def"]), 1000)).toString()).toBe("abcdef");
  await expect(readUpload(bodyOf(["abc"], { fails: true }), 1000)).rejects.toMatchObject({
    kind: "client-gone",
  });
  await expect(readUpload(bodyOf(["abc"], { everyMs: 500 }), 100)).rejects.toMatchObject({
    kind: "request-timeout",
  });
});
