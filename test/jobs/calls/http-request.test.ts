/** `http_request`, from its submission to what the upstream sees. */
import { reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { httpRequest } from "../../../src/jobs/calls/http-request.ts";
import { NonRetryableError, PostponedError, RetryLaterError } from "../../../src/tasks/index.ts";
import { callForJson, callWorker } from "../../support/call.ts";
import { putFile, sha256 } from "../../support/files.ts";
import { follow, rejection } from "../../support/followed.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { resetUpstream } from "../../support/scripted-upstream.ts";
import { taskContext } from "../../support/task-context.ts";
import { IDLE, loadOf } from "../../support/upstreams.ts";

expectRuntimeErrors("Network connection lost", "Connection refused", "broken");

interface Seen {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: string;
}
let seen: Seen[] = [];

/** The upstream sends these responses, one after the other, and then repeats the last one. */
function respondWith(...responses: (() => Response)[]): void {
  resetUpstream(async (request) => {
    const { method, url, headers } = request;
    seen.push({ method, url, headers: Object.fromEntries(headers), body: await request.text() });
    return (responses[seen.length - 1] ?? responses.at(-1) ?? (() => new Response()))();
  });
}

keepQuiet();
beforeEach(async () => {
  await reset();
  seen = [];
  respondWith(() => Response.json({ ok: true }));
});

/** One attempt, without a ledger: what it returns or throws. */
async function attempt(input: object, changes: Parameters<typeof taskContext>[0] = {}): Promise<unknown> {
  const left: Promise<unknown>[] = [];
  const ctx = taskContext({ taskId: "s0-task", waitUntil: (promise) => void left.push(promise), ...changes });
  const parsed = httpRequest.input.parse({ upstream: "probe-any", path: "/", ...input });
  const outcome = await httpRequest.run(ctx, parsed).catch((error: unknown) => error);
  await Promise.allSettled(left);
  return outcome;
}

describe("from end to end", () => {
  test("a call is made as it was described, and its response is the task's result", async () => {
    respondWith(() => Response.json({ order: 12 }, { status: 201, headers: { Location: "/api/orders/12" } }));
    const { task, events, id } = await follow("http_request", {
      upstream: "call-any",
      method: "POST",
      path: "/api/orders?dry=0",
      headers: { "X-Custom": "seven" },
      body: { item: 7 },
      expect: [201],
    });
    expect(task).toMatchObject({
      status: "succeeded",
      attempt: 1,
      result: {
        status: 201,
        headers: { location: "/api/orders/12", "content-type": "application/json" },
        body: { order: 12 },
        encoding: "json",
        truncated: false,
      },
    });
    expect(seen).toMatchObject([
      {
        method: "POST",
        url: "http://upstream.internal/api/orders?dry=0",
        headers: {
          "content-type": "application/json",
          "x-custom": "seven",
          "x-api-key": "key-of-the-tests",
          "idempotency-key": `"${id}"`,
        },
        body: '{"item":7}',
      },
    ]);
    expect(events.at(-1)).toMatchObject({ event: "status", data: { status: "succeeded" } });
    expect(events).toContainEqual(
      expect.objectContaining({ data: expect.objectContaining({ message: "POST of call-any: 201" }) }),
    );
  });

  test("a failed attempt is followed by another one, with the same Idempotency-Key", async () => {
    respondWith(
      () => new Response("busy", { status: 500 }),
      () => new Response("done"),
    );
    const { task, id } = await follow("http_request", { upstream: "probe-any", method: "POST", path: "/" });
    expect(task).toMatchObject({ status: "succeeded", attempt: 2, result: { body: "done" } });
    expect(seen.map(({ headers }) => headers["idempotency-key"])).toEqual([`"${id}"`, `"${id}"`]);
  });

  test("a response for which no retry would help fails the task, which says what the upstream said", async () => {
    respondWith(() => new Response("no such item", { status: 404 }));
    const { task } = await follow("http_request", { upstream: "probe-any", path: "/items/7" });
    expect(task).toMatchObject({
      status: "failed",
      attempt: 1,
      error: { name: "NonRetryableError", message: "the upstream responded with 404: no such item" },
    });
  });

  test("its type is listed, with an example that names the parts", async () => {
    const { body } = await callForJson("/task-types");
    const types = body.taskTypes ?? body.types;
    expect(types).toContainEqual(
      expect.objectContaining({
        name: "http_request",
        input: expect.objectContaining({ examples: [expect.objectContaining({ upstream: "shop" })] }),
      }),
    );
  });
});

describe("save_as", () => {
  const download = async (id: string) => {
    const { response } = await callWorker(`/files/${id}`);
    return {
      status: response.status,
      headers: Object.fromEntries(response.headers),
      text: await response.text(),
    };
  };

  test("stores the body in a file, which names its task", async () => {
    const csv = "a,b\n".repeat(50_000);
    respondWith(() => new Response(csv, { headers: { "Content-Type": "text/csv" } }));
    const { task, id } = await follow("http_request", {
      upstream: "probe-any",
      path: "/exports/r%C3%B6st.csv?year=2026",
      save_as: "export",
    });
    expect(task).toMatchObject({
      status: "succeeded",
      result: {
        status: 200,
        file: { id: "export", size: csv.length, sha256: sha256(csv), contentType: "text/csv" },
      },
    });
    const { text, headers } = await download("export");
    expect(text).toBe(csv);
    expect(headers["content-disposition"]).toContain("r%C3%B6st.csv");
    const { body } = await callForJson("/files");
    expect(body.files).toMatchObject([{ id: "export", sourceTask: id }]);
  });

  test.each([
    ["nothing, for a HEAD", { method: "HEAD" }, new Response(null, { headers: { "Content-Length": "7" } })],
    ["nothing, for a response without a body", {}, new Response(null, { status: 204 })],
  ])("stores %s", async (_name, input, response) => {
    respondWith(() => response);
    expect(await attempt({ ...input, save_as: "empty" })).toMatchObject({ file: { id: "empty", size: 0 } });
  });

  test("leaves the file as it was when the response is not what was expected, or breaks off", async () => {
    await putFile("kept", "before");
    respondWith(() => new Response("no", { status: 404 }));
    expect(await attempt({ save_as: "kept" })).toBeInstanceOf(NonRetryableError);
    respondWith(() => {
      let chunks = 0;
      const body = new ReadableStream<Uint8Array>({
        pull(controller) {
          if (chunks++ === 3) controller.error(new Error("broken"));
          else controller.enqueue(new Uint8Array(65_536));
        },
      });
      return new Response(body);
    });
    expect(await attempt({ save_as: "kept" })).toBeInstanceOf(Error);
    expect((await download("kept")).text).toBe("before");
  });
});

describe("what is sent", () => {
  test.each<[string, object, Partial<Seen>]>([
    ["text as it is", { method: "PUT", body: "a=b" }, { body: "a=b" }],
    ["an array as JSON", { method: "PUT", body: [1, null] }, { body: "[1,null]" }],
    [
      "a Content-Type of the caller",
      { method: "PUT", body: { a: 1 }, headers: { "content-type": "application/merge-patch+json" } },
      { headers: expect.objectContaining({ "content-type": "application/merge-patch+json" }) },
    ],
    [
      "an Idempotency-Key of the caller",
      { method: "POST", headers: { "Idempotency-Key": "mine" } },
      { headers: expect.objectContaining({ "idempotency-key": "mine" }) },
    ],
    [
      "no Idempotency-Key with a GET",
      {},
      { headers: expect.not.objectContaining({ "idempotency-key": expect.anything() }) },
    ],
  ])("%s", async (_name, input, expected) => {
    await attempt(input);
    expect(seen).toMatchObject([expected]);
  });
});

describe("a status", () => {
  test.each([
    [200, undefined],
    [204, undefined],
    [404, [200, 404]],
    [409, ["2xx", "4xx"]],
    [500, ["5xx"]],
  ])("%d is a success, with expect %j", async (status, expected) => {
    respondWith(() => new Response(null, { status }));
    expect(await attempt(expected ? { expect: expected } : {})).toMatchObject({ status, body: null });
  });

  test.each([400, 401, 403, 404, 410, 422, 501, 505])("%d fails the task for good", async (status) => {
    respondWith(() => new Response("why", { status }));
    const error = await attempt({});
    expect(error).toBeInstanceOf(NonRetryableError);
    expect(String(error)).toContain(`${status}: why`);
  });

  test.each([408, 425, 429, 500, 502, 503, 504])("%d fails the attempt", async (status) => {
    respondWith(() => new Response("why", { status }));
    const error = await attempt({});
    expect(error).toBeInstanceOf(Error);
    expect(error).not.toBeInstanceOf(NonRetryableError);
  });

  test("that is a success elsewhere, but not expected, fails the task for good: the work is done", async () => {
    expect(await attempt({ expect: [201] })).toBeInstanceOf(NonRetryableError);
  });

  test.each([
    [429, "120", 120],
    [500, "7200", 7_200],
    [503, "99999999", 86_400],
  ])(
    "%d with Retry-After: %s lets no attempt begin before that, but a day later at most",
    async (status, after, s) => {
      respondWith(() => new Response(null, { status, headers: { "Retry-After": after } }));
      const startedAtMs = Date.now();
      const error = await attempt({});
      expect(error).toBeInstanceOf(RetryLaterError);
      const laterMs = (error as RetryLaterError).notBeforeMs - startedAtMs;
      expect(laterMs).toBeGreaterThanOrEqual(s * 1_000);
      expect(laterMs).toBeLessThan(s * 1_000 + 10_000);
    },
  );
});

describe("retries", () => {
  test("after as many as the caller allows, the task fails", async () => {
    respondWith(() => new Response(null, { status: 500 }));
    expect(await attempt({ retries: 1 }, { attempt: 1 })).not.toBeInstanceOf(NonRetryableError);
    expect(await attempt({ retries: 1 }, { attempt: 2 })).toBeInstanceOf(NonRetryableError);
    expect(await attempt({ retries: 0 }, { attempt: 1 })).toBeInstanceOf(NonRetryableError);
  });

  test("no connection fails the attempt; a refusal by the configuration fails the task", async () => {
    const input = { upstream: "proxy-nowhere" };
    expect(await attempt(input)).toMatchObject({ kind: "upstream-unreachable" });
    respondWith(() => new Response("x".repeat(2_000)));
    expect(await attempt({ upstream: "proxy-small" })).toBeInstanceOf(NonRetryableError);
  });

  test("a call that gets no permit is postponed, and uses up no attempt", async () => {
    const gate = Promise.withResolvers<void>();
    resetUpstream(async () => {
      await gate.promise;
      return new Response();
    });
    const holding = attempt({ upstream: "short-wait" });
    await expect.poll(() => loadOf("short-wait")).toEqual({ held: 1, waiting: 0 });
    const progress: unknown[] = [];
    const error = await attempt(
      { upstream: "short-wait", retries: 0 },
      { progress: (...reported) => void progress.push(reported) },
    );
    expect(error).toBeInstanceOf(PostponedError);
    const laterMs = (error as PostponedError).notBeforeMs - Date.now();
    expect(laterMs).toBeGreaterThan(9_000);
    expect(progress.at(-1)).toEqual([0, expect.stringMatching(/^Postponed: /)]);
    gate.resolve();
    await holding;
  });

  test("a call that was cut off is made again by the next run, with the same Idempotency-Key", async () => {
    const abort = new AbortController();
    respondWith(
      () => {
        abort.abort(new Error("handed over"));
        return new Response();
      },
      () => new Response(),
    );
    const input = { method: "POST", upstream: "probe-any" };
    await attempt(input, { signal: abort.signal });
    expect(await attempt(input)).toMatchObject({ status: 200 });
    const keys = seen.map(({ headers }) => headers["idempotency-key"]);
    expect(keys).toEqual(['"s0-task"', '"s0-task"']);
  });

  test("a call is made no more when its task is cancelled, and its permit comes back", async () => {
    const abort = new AbortController();
    abort.abort(new Error("cancelled"));
    expect(await attempt({}, { signal: abort.signal })).toBeInstanceOf(Error);
    expect(seen).toEqual([]);
    expect(await loadOf("probe-any")).toEqual(IDLE);
  });
});

describe("a submission is rejected", () => {
  test.each<[string, object, Record<string, unknown>]>([
    ["without upstream and path", {}, { upstream: expect.any(String), path: expect.any(String) }],
    [
      "for an unknown upstream",
      { upstream: "none", path: "/" },
      { upstream: expect.stringContaining("scripted") },
    ],
    [
      "for its method",
      { upstream: "scripted", path: "/", method: "POST" },
      { method: expect.stringContaining("methods") },
    ],
    [
      "for a method that is none",
      { upstream: "scripted", path: "/", method: "BREW" },
      { method: expect.any(String) },
    ],
    [
      "for a path without a slash",
      { upstream: "scripted", path: "todos" },
      { path: expect.stringContaining("slash") },
    ],
    [
      "for a path that leads out",
      { upstream: "call-any", path: "/api/%2e%2e/x" },
      { path: expect.stringContaining("dot segment") },
    ],
    [
      "for a path outside of the prefixes",
      { upstream: "call-any", path: "/admin" },
      { path: expect.stringContaining("/api/") },
    ],
    [
      "for a header that does not travel",
      { upstream: "scripted", path: "/", headers: { Cookie: "a" } },
      { "headers/Cookie": expect.stringContaining("request_headers") },
    ],
    [
      "for a header that the configuration sets",
      { upstream: "call-any", path: "/api/", headers: { "x-api-key": "a" } },
      { "headers/x-api-key": expect.stringContaining("wrangler.toml") },
    ],
    [
      "for a header with a line break",
      { upstream: "scripted", path: "/", headers: { Prefer: "a\r\nCookie: b" } },
      { "headers/Prefer": expect.stringContaining("printable") },
    ],
    [
      "for a header that has no name",
      { upstream: "scripted", path: "/", headers: { "a b": "c" } },
      { "headers/a b": expect.stringContaining("name of a header") },
    ],
    [
      "for an Idempotency-Key that is empty",
      { upstream: "scripted", path: "/", headers: { "idempotency-key": " " } },
      { "headers/idempotency-key": expect.stringContaining("is empty") },
    ],
    ["for a GET with a body", { upstream: "scripted", path: "/", body: "x" }, { body: "a GET has no body" }],
    [
      "for a body that is a number",
      { upstream: "upload-any", path: "/", method: "PUT", body: 7 },
      { body: expect.any(String) },
    ],
    [
      "for an expectation that is no status",
      { upstream: "scripted", path: "/", expect: [99] },
      { "expect/0": expect.any(String) },
    ],
    ["for no expectation", { upstream: "scripted", path: "/", expect: [] }, { expect: expect.any(String) }],
    [
      "for too many retries",
      { upstream: "scripted", path: "/", retries: 11 },
      { retries: expect.any(String) },
    ],
    [
      "for a member that there is not",
      { upstream: "scripted", path: "/", timeout: 1 },
      { "json/input": expect.stringContaining("timeout") },
    ],
  ])("%s", async (_name, input, errors) => {
    expect(await rejection("http_request", input)).toEqual(errors);
    expect(seen).toEqual([]);
  });
});
