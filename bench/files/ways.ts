/**
 * The ways a file of some size goes in, each over HTTP from this process, made while it is sent. What comes back
 * must show that the file has arrived as it was sent: a server that lost bytes would be fast.
 */
import { type IncomingMessage, type RequestOptions, request } from "node:http";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { digestOf, makeFile, uploadForm } from "../upload.ts";

/** Sends a file of `size` bytes to the server at `url`. Throws if it has not arrived whole. */
export type Way = (url: string, size: number) => Promise<void>;

/** The body of a PUT; `path` ends where the file is to be. */
export const sendRaw =
  (path: string): Way =>
  async (url, size) => {
    const { body } = await send(`${url}${path}`, "PUT", { "Content-Length": size }, size);
    check(body.includes(`"size":${size}`) && body.includes(digestOf(size)), body);
  };

/** A PUT to what only stores, and tells how much it has. */
export const sendPlain: Way = async (url, size) => {
  const { body } = await send(url, "PUT", { "Content-Length": size }, size);
  check(body === String(size), body);
};

export const sendForm: Way = async (url, size) => {
  await uploadForm(url, size);
};

/** tus: a creation, and PATCHes of `chunkSize`; then the file is read back, if there is a way to. */
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
    // Every block is the same, so that cutting the file into chunks of whole blocks does not change it.
    check(headers.etag === `"${digestOf(size)}"`, JSON.stringify(headers));
  };

async function send(url: string, method: string, headers: RequestOptions["headers"] & object, size: number) {
  const sending = request(url, { method, headers });
  const answered = Promise.withResolvers<IncomingMessage>();
  sending.once("response", answered.resolve).once("error", answered.reject);
  const [response] = await Promise.all([answered.promise, pipeline(Readable.from(makeFile(size)), sending)]);
  return { status: response.statusCode, headers: response.headers, body: await text(response) };
}

function check(isRight: boolean, answer: string): void {
  if (!isRight) throw new Error(`The file was not stored as it was sent: ${answer}`);
}
