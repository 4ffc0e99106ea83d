/** `push_file`, from its submission to what the upstream has received. */

import { reset } from "cloudflare:test";
import { createHash } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import { pushFile } from "../../../src/jobs/calls/push-file.ts";
import { NonRetryableError } from "../../../src/tasks/index.ts";
import { putFile, sha256 } from "../../support/files.ts";
import { follow, rejection } from "../../support/followed.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { resetUpstream } from "../../support/scripted-upstream.ts";
import { taskContext } from "../../support/task-context.ts";
import { IDLE, loadOf } from "../../support/upstreams.ts";

expectRuntimeErrors(
  "Network connection lost",
  "reader canceled",
  "the file was removed",
  "replaced while",
  "handed over",
  "client disconnected",
  "The call is over",
  "body broke off",
);

interface Received {
  method: string;
  url: string;
  headers: Record<string, string>;
  /** Undefined until all of it has come. */
  body: Uint8Array | undefined;
}
let received: Received[] = [];

/** The upstream takes the whole body, and then responds with these statuses, and at last with the last one. */
function respondWith(...statuses: number[]): void {
  resetUpstream(async (request) => {
    const { method, url } = request;
    const headers = Object.fromEntries(request.headers);
    const got: Received = { method, url, headers, body: undefined };
    const status = statuses[received.push(got) - 1] ?? statuses.at(-1) ?? 201;
    got.body = await request.bytes();
    return new Response("stored", { status });
  });
}

keepQuiet();
beforeEach(async () => {
  await reset();
  received = [];
  respondWith(201);
});

const digest = (bytes: string | Uint8Array) =>
  `sha-256=:${createHash("sha256").update(bytes).digest("base64")}:`;

/** One attempt, without a ledger: what it returns or throws. */
async function attempt(input: object, changes: Parameters<typeof taskContext>[0] = {}): Promise<unknown> {
  const left: Promise<unknown>[] = [];
  const ctx = taskContext({ taskId: "s0-task", waitUntil: (promise) => void left.push(promise), ...changes });
  const parsed = pushFile.input.parse({ upstream: "probe-any", path: "/", ...input });
  const outcome = await pushFile.run(ctx, parsed).catch((error: unknown) => error);
  await Promise.allSettled(left);
  return outcome;
}

test("a file is sent as it is, with its length, type and digests", async () => {
  const bytes = new Uint8Array(3_000_000).map((_, n) => (n * 31) % 251);
  await putFile("report", bytes, { headers: { "Content-Type": "application/pdf" } });
  const { task, events } = await follow("push_file", {
    fileId: "report",
    upstream: "call-any",
    path: "/api/reports/7?v=1",
    headers: { "X-Custom": "a" },
  });
  expect(task).toMatchObject({
    status: "succeeded",
    attempt: 1,
    result: { status: 201, body: "stored", encoding: "text", size: 3_000_000, sha256: sha256(bytes) },
  });
  expect(received).toMatchObject([
    {
      method: "PUT",
      url: "http://upstream.internal/api/reports/7?v=1",
      headers: {
        "content-type": "application/pdf",
        "content-length": "3000000",
        "content-digest": digest(bytes),
        "repr-digest": digest(bytes),
        "x-custom": "a",
        "x-api-key": "key-of-the-tests",
      },
    },
  ]);
  expect(sha256(received[0]?.body ?? "")).toBe(sha256(bytes));
  expect(events).toContainEqual(
    expect.objectContaining({ data: expect.objectContaining({ message: "3000000 of 3000000 bytes sent" }) }),
  );
});

test("a POST that failed is repeated with the same Idempotency-Key", async () => {
  await putFile("a", "hello");
  respondWith(503, 200);
  const { task, id } = await follow("push_file", {
    fileId: "a",
    upstream: "probe-any",
    method: "POST",
    path: "/",
  });
  expect(task).toMatchObject({ status: "succeeded", attempt: 2 });
  expect(received.map(({ headers }) => headers["idempotency-key"])).toEqual([`"${id}"`, `"${id}"`]);
  expect(received.map(({ body }) => new TextDecoder().decode(body))).toEqual(["hello", "hello"]);
});

test("an empty file is sent as one", async () => {
  await putFile("empty", "");
  expect(await attempt({ fileId: "empty" })).toMatchObject({ status: 201, size: 0 });
  expect(received).toMatchObject([{ headers: { "content-length": "0" } }]);
  expect(received[0]?.body).toHaveLength(0);
});

test("a header of the caller stands before the file's own", async () => {
  await putFile("a", "hello");
  await attempt({ fileId: "a", headers: { "Content-Type": "text/x-own" } });
  expect(received).toMatchObject([{ headers: { "content-type": "text/x-own" } }]);
});

describe("the task fails for good", () => {
  test("if there is no such file", async () => {
    const error = await attempt({ fileId: "none" });
    expect(error).toBeInstanceOf(NonRetryableError);
    expect(String(error)).toContain("there is no file none");
    expect(received).toEqual([]);
  });

  test("if the upstream does not want it", async () => {
    await putFile("a", "hello");
    respondWith(413);
    const error = await attempt({ fileId: "a" });
    expect(error).toBeInstanceOf(NonRetryableError);
    expect(String(error)).toContain("413: stored");
  });
});

test("a run that is interrupted sends no part that could pass for the whole, and the next one sends all of it", async () => {
  const bytes = new Uint8Array(5_000_000).fill(7);
  await putFile("long", bytes);
  const abort = new AbortController();
  const progress = (ratio: number) => {
    if (ratio > 0) abort.abort(new Error("handed over"));
  };
  const error = await attempt({ fileId: "long", method: "POST" }, { signal: abort.signal, progress });
  expect(error).toBeInstanceOf(Error);
  expect(received).toMatchObject([{ body: undefined }]);
  expect(await attempt({ fileId: "long", method: "POST" })).toMatchObject({ status: 201 });
  expect(received[1]?.body).toHaveLength(bytes.length);
  expect(received[1]?.headers["idempotency-key"]).toBe(received[0]?.headers["idempotency-key"]);
  await expect.poll(() => loadOf("probe-any")).toEqual(IDLE);
});

describe("a submission is rejected", () => {
  test.each<[string, object, Record<string, unknown>]>([
    [
      "without a file, an upstream and a path",
      {},
      { fileId: expect.any(String), upstream: expect.any(String), path: expect.any(String) },
    ],
    [
      "for an id that is none",
      { fileId: "../a", upstream: "probe-any", path: "/" },
      { fileId: expect.any(String) },
    ],
    [
      "for a method that carries no file",
      { fileId: "a", upstream: "probe-any", path: "/", method: "GET" },
      { method: expect.any(String) },
    ],
    [
      "for a method that the upstream has not",
      { fileId: "a", upstream: "scripted", path: "/" },
      { method: expect.stringContaining("methods") },
    ],
    [
      "for an unknown upstream",
      { fileId: "a", upstream: "none", path: "/" },
      { upstream: expect.stringContaining("scripted") },
    ],
    [
      "for a path outside of the prefixes",
      { fileId: "a", upstream: "call-any", path: "/x" },
      { path: expect.stringContaining("/api/") },
    ],
    [
      "for a length of its own",
      { fileId: "a", upstream: "probe-any", path: "/", headers: { "Content-Length": "1" } },
      { "headers/Content-Length": expect.any(String) },
    ],
  ])("%s", async (_name, input, errors) => {
    expect(await rejection("push_file", input)).toEqual(errors);
  });
});
