/**
 * The ways to upload a file, each over HTTP from this process; the file is generated while it is sent. The response
 * must show that the file arrived as it was sent, because a server that loses bytes is fast.
 */
import { type IncomingMessage, type RequestOptions, request } from "node:http";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { digestOf, makeFile, uploadForm } from "../upload.ts";

/** Sends a file of `size` bytes to the server at `url`. Throws if it did not arrive complete. */
export type Way = (url: string, size: number) => Promise<void>;

/** The body of a PUT to `path`. */
export const sendRaw =
  (path: string): Way =>
  async (url, size) => {
    const { body } = await send(`${url}${path}`, "PUT", { "Content-Length": size }, size);
    check(body.includes(`"size":${size}`) && body.includes(digestOf(size)), body);
  };

/** A PUT to the server that only stores and returns the size. */
export const sendPlain: Way = async (url, size) => {
  const { body } = await send(url, "PUT", { "Content-Length": size }, size);
  check(body === String(size), body);
};

export const sendForm: Way = async (url, size) => {
  await uploadForm(url, size);
};

/** tus: a creation and PATCHes of `chunkSize` bytes; then the digest of the file is checked, if the server sends one. */
export const sendTus =
  (path: string, chunkSize: number, fileOf?: (upload: string) => string): Way =>
  async (url, size) => {
    const version = { "Tus-Resumable": "1.0.0" };
    const created = await send(
      `${url}${path}`,
      "POST",
      { ...version, "Upload-Length": size, "Content-Length": 0 },
      0,
    );
    const upload = new URL(String(created.headers.location), url).href;
    for (let offset = 0; offset < size; offset += chunkSize) {
      const length = Math.min(chunkSize, size - offset);
      const headers = {
        ...version,
        "Upload-Offset": offset,
        "Content-Type": "application/offset+octet-stream",
        "Content-Length": length,
      };
      const { status, body } = await send(upload, "PATCH", headers, length);
      check(status === 204, body);
    }
    if (!fileOf) return;
    const { headers } = await send(fileOf(upload), "HEAD", {}, 0);
    // All blocks are equal, so chunks of whole blocks do not change the file.
    const digest = Buffer.from(digestOf(size), "hex").toString("base64");
    check(headers["repr-digest"] === `sha-256=:${digest}:`, JSON.stringify(headers));
  };

/** Reads a file to its end. */
export async function readFile(url: string): Promise<{ size: number; firstByteMs: number; totalMs: number }> {
  const startMs = performance.now();
  const received = Promise.withResolvers<IncomingMessage>();
  request(url).once("response", received.resolve).once("error", received.reject).end();
  let size = 0;
  let firstByteMs = Number.NaN;
  for await (const chunk of await received.promise) {
    if (size === 0) firstByteMs = performance.now() - startMs;
    size += (chunk as Buffer).length;
  }
  return { size, firstByteMs, totalMs: performance.now() - startMs };
}

async function send(url: string, method: string, headers: RequestOptions["headers"] & object, size: number) {
  const sending = request(url, { method, headers });
  const received = Promise.withResolvers<IncomingMessage>();
  sending.once("response", received.resolve).once("error", received.reject);
  const [response] = await Promise.all([received.promise, pipeline(Readable.from(makeFile(size)), sending)]);
  return { status: response.statusCode, headers: response.headers, body: await text(response) };
}

function check(isRight: boolean, response: string): void {
  if (!isRight) throw new Error(`The file was not stored as it was sent: ${response}`);
}
