/** Resumable uploads as their clients send them, and access to what is stored for them. */
import { env, runInDurableObject } from "cloudflare:test";
import { createHash } from "node:crypto";
import { expect, vi } from "vitest";
import type { UploadSession } from "../../src/files/index.ts";
import { Appender } from "../../src/files/resumable/appender.ts";
import type { SessionRecord, UploadSpec } from "../../src/files/resumable/session-storage.ts";
import { type CallOptions, callWorker } from "./call.ts";
import { sha256 } from "./files.ts";
import { catalogueRows, collect, objectKeys } from "./stored.ts";

export const MIB = 1024 * 1024;
/** The path of an upload that does not exist. */
export const NO_UPLOAD = "/uploads/0190a2b4-0000-7000-8000-000000000000";
export const TUS = { "Tus-Resumable": "1.0.0" };
/** The media type of bytes in tus. */
export const TUS_TYPE = { "Content-Type": "application/offset+octet-stream" };
export const CHUNK = { ...TUS, ...TUS_TYPE };
export const PARTIAL = { "Upload-Concat": "partial" };

/** `Upload-Metadata` with these entries. */
export const metadata = (entries: Record<string, string>) => ({
  "Upload-Metadata": Object.entries(entries)
    .map(([key, value]) => `${key} ${Buffer.from(value).toString("base64")}`)
    .join(","),
});

export interface UploadResponse {
  status: number;
  headers: Headers;
  /** The names and values of these headers; null where one is missing. */
  has(...names: string[]): Record<string, string | null>;
  text: string;
  /** The body as JSON; undefined if it is empty. */
  // oxlint-disable-next-line typescript/no-explicit-any
  body: Record<string, any> | undefined;
}

type Options = Omit<CallOptions, "headers" | "method"> & { headers?: Record<string, string | number> };

/** One request to the Worker; resolves when the response is complete and everything in `waitUntil` is over. */
export async function send(method: string, path: string, { headers = {}, ...rest }: Options = {}) {
  const init: CallOptions = { ...rest, method, headers: toStrings(headers) };
  const { response, settled } = await callWorker(path, init);
  const text = new TextDecoder().decode(await response.arrayBuffer());
  await settled();
  const received: UploadResponse = {
    status: response.status,
    headers: response.headers,
    text,
    has: (...names) => Object.fromEntries(names.map((name) => [name, response.headers.get(name)])),
    body:
      text !== "" && /json/.test(response.headers.get("Content-Type") ?? "") ? JSON.parse(text) : undefined,
  };
  return received;
}

const toStrings = (headers: Record<string, string | number>) =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));

/** Requests a new tus upload. */
export const postTus = async (headers: Record<string, string | number>, body: BodyInit | null = null) =>
  send("POST", "/uploads", { body, headers: { ...TUS, ...headers } });

/** The spec of an upload, with defaults for everything that does not matter. */
export const specOf = (more: Partial<UploadSpec> = {}): UploadSpec => ({
  id: crypto.randomUUID(),
  protocol: "tus",
  kind: "whole",
  length: null,
  endsAtLength: true,
  filename: "x",
  contentType: "text/plain",
  expiresIn: null,
  task: null,
  expected: null,
  metadata: null,
  concat: null,
  sources: [],
  ...more,
});

/** Creates a final upload whose concatenation has not started; returns its path. */
export async function createFinal(partials: string[]): Promise<string> {
  const spec = specOf({
    kind: "final",
    concat: `final;${partials.join(" ")}`,
    sources: partials.map(idOf),
  });
  await sessionOf(spec.id).create(spec);
  return `/uploads/${spec.id}`;
}

/** The path of an upload, from the response to its creation. */
export const pathOf = ({ headers }: Pick<UploadResponse, "headers">) =>
  new URL(headers.get("Location") ?? "none:").pathname;
export const idOf = (path: string) => path.slice(path.lastIndexOf("/") + 1);

/** Creates an upload in tus; returns its path. */
export async function createTus(headers: Record<string, string | number>, options: Options = {}) {
  const response = await send("POST", "/uploads", { ...options, headers: { ...TUS, ...headers } });
  expect(response.status, response.text).toBe(201);
  return pathOf(response);
}

/** Appends bytes to an upload in tus. */
export const patchTus = async (
  path: string,
  offset: number | string,
  body: BodyInit | null,
  { headers = {}, ...rest }: Options = {},
) => send("PATCH", path, { body, headers: { ...CHUNK, "Upload-Offset": offset, ...headers }, ...rest });

export const headTus = async (path: string) => send("HEAD", path, { headers: TUS });

/** A whole upload in tus, in two requests; returns its path. */
export async function uploadTus(
  body: Uint8Array<ArrayBuffer> | string,
  headers: Record<string, string> = {},
) {
  const path = await createTus({ "Upload-Length": Buffer.byteLength(body), ...headers });
  expect((await patchTus(path, 0, body)).status).toBe(204);
  return path;
}

/** The bytes, with another first one. */
export const corrupted = (bytes: Uint8Array<ArrayBuffer>) =>
  bytes.map((byte, i) => (i === 0 ? byte ^ 1 : byte));

/** The same bytes for the same seed. */
export function bytesOf(size: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  for (let i = 0, state = seed; i < size; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

export const digest = (
  algorithm: string,
  bytes: Uint8Array | string,
  encoding: "hex" | "base64" = "base64",
) => createHash(algorithm).update(bytes).digest(encoding);

/** The file that an upload became: the status of its GET, and the sha256 of its bytes. */
export async function fileOf(path: string) {
  const { response } = await callWorker(`/files/${idOf(path)}`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  return { status: response.status, headers: response.headers, size: bytes.length, sha256: sha256(bytes) };
}

/** A body that sends the bytes and then stalls, until it is broken off, ended or cancelled. */
export function stalledBody(bytes: Uint8Array | string) {
  const { readable, writable } = new IdentityTransformStream();
  const writer = writable.getWriter();
  writer.write(typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes).catch(() => {});
  return {
    body: readable,
    breakOff: () => writer.abort(new Error("the connection is reset")).catch(() => {}),
    end: () => writer.close().catch(() => {}),
  };
}

/** A body without a Content-Length. */
export function withoutLength(bytes: Uint8Array | string): ReadableStream<Uint8Array> {
  const { body } = new Response(bytes);
  if (!body) throw new Error("there is a body");
  return body.pipeThrough(new TransformStream());
}

/** Counts the bytes that uploads append from now on, committed or not; bytes still in a stream do not count. */
export function countAppended() {
  let count = 0;
  // oxlint-disable-next-line typescript/unbound-method -- it is called with its `this` below
  const { append } = Appender.prototype;
  const spy = vi.spyOn(Appender.prototype, "append").mockImplementation(async function (
    this: Appender,
    chunk,
  ) {
    // Before the call, because the buffer of the chunk is reused for the next one.
    count += chunk.length;
    return append.call(this, chunk);
  });
  return {
    /** Resolves when that many have arrived, and stops counting. */
    untilAppended: async (minBytes: number) => {
      await expect.poll(() => count, { interval: 5, timeout: 5000 }).toBeGreaterThanOrEqual(minBytes);
      spy.mockRestore();
    },
  };
}

// ---------------------------------------------------------------- inside the storage

export const sessionOf = (path: string) => env.UPLOAD_SESSION.getByName(idOf(path));

export const inSession = async <R>(
  path: string,
  use: (state: DurableObjectState, session: UploadSession) => R | Promise<R>,
): Promise<R> =>
  runInDurableObject(sessionOf(path), async (session: UploadSession, state) => use(state, session));

export const recordOf = async (path: string) =>
  inSession(path, (state) => state.storage.kv.get<SessionRecord>("session"));

/** The record of an upload that must exist. */
export async function storedRecord(path: string): Promise<SessionRecord> {
  const found = await recordOf(path);
  if (!found) throw new Error(`there is no upload at ${path}`);
  return found;
}

/** Aborts the instance of the object, whatever it is doing; the next call gets a new one. */
export async function kill(path: string): Promise<void> {
  await inSession(path, (state) => state.abort("killed")).catch(() => {});
}

/** Changes the stored record of an upload directly. */
export const changeRecord = async (path: string, change: Partial<SessionRecord>) =>
  inSession(path, (state) => {
    const record = state.storage.kv.get<SessionRecord>("session");
    state.storage.kv.put("session", { ...record, ...change });
  });

/** The final uploads that have pinned a partial upload. */
export const holdersOf = async (path: string) =>
  inSession(path, ({ storage }) =>
    [...storage.kv.list({ prefix: "pin/" })].map(([key]) => key.slice("pin/".length)),
  );

/** Everything that the object of an upload stores, its alarm included. */
export const storageOf = async (path: string) =>
  inSession(path, async ({ storage }) => ({
    keys: [...storage.kv.list()].map(([key]) => key),
    alarm: await storage.getAlarm(),
  }));

export const EMPTY_STORAGE = { keys: [], alarm: null };

/** Replaces the bucket that the object of an upload sees, until it is evicted. */
export const replaceBucket = async (path: string, change: (bucket: R2Bucket) => Partial<R2Bucket>) =>
  inSession(path, (_state, session) => {
    const changed = change(env.FILES);
    const bucket = new Proxy(env.FILES, {
      get: (target, key) =>
        key in changed ? Reflect.get(changed, key) : Reflect.get(target, key).bind(target),
    });
    Object.defineProperty(session, "env", { value: { ...env, FILES: bucket }, configurable: true });
  });

/** The keys in R2, and the blobs that the catalogue has reserved or still has to remove, after a collection. */
export async function blobsLeft(): Promise<{ objects: string[]; strays: string[] }> {
  await collect();
  const { strays } = await catalogueRows();
  return { objects: await objectKeys(), strays: strays.map(({ blob }) => blob) };
}

/** Neither the object of the upload nor R2 nor the catalogue keeps anything of it. */
export async function expectNothingLeft(path: string): Promise<void> {
  expect(await storageOf(path)).toEqual(EMPTY_STORAGE);
  expect(await blobsLeft()).toEqual({ objects: [], strays: [] });
}

/** Whether R2 still accepts parts for the multipart upload of the session. */
export async function isMultipartOpen({ blob, uploadId }: SessionRecord): Promise<boolean> {
  if (uploadId === null) return false;
  return env.FILES.resumeMultipartUpload(blob, uploadId)
    .uploadPart(9_999, "x")
    .then(
      () => true,
      () => false,
    );
}
