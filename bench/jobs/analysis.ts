/** Storing a CSV file and analysing it, over HTTP, as a user would. */
import { type IncomingMessage, request } from "node:http";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { z } from "zod";
import { makeCsv } from "./csv.ts";

const taskSchema = z.object({
  status: z.string(),
  result: z.object({ rows: z.number(), size: z.number() }).nullish(),
  error: z.unknown(),
});

/**
 * PUTs a new CSV file of so many bytes. Its length is announced, so it is stored by one put: the simulated R2 reads an object
 * of several parts through JavaScript, which takes it longer than any parser.
 */
export async function storeCsv(url: string, size: number): Promise<void> {
  const sending = request(url, { method: "PUT", headers: { "Content-Length": size } });
  const received = Promise.withResolvers<IncomingMessage>();
  sending.once("response", received.resolve).once("error", received.reject);
  const [response] = await Promise.all([received.promise, pipeline(Readable.from(makeCsv(size)), sending)]);
  const body = await text(response);
  if (!body.includes(String(size))) throw new Error(`The file was not stored: ${body}`);
}

/** Resolves as soon as the task has succeeded, with a result for a file of `size` bytes. */
export async function analyze(url: string, fileId: string, size: number): Promise<void> {
  const response = await fetch(`${url}/tasks`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Prefer: "wait=20" },
    body: JSON.stringify({ type: "analyze_file", input: { fileId } }),
  });
  const { id } = z.object({ id: z.string() }).parse(await response.json());
  for (;;) {
    const waited = await fetch(`${url}/tasks/${id}`, { headers: { Prefer: "wait=20" } });
    const { status, result, error } = taskSchema.parse(await waited.json());
    if (status === "failed") throw new Error(`It has failed: ${JSON.stringify(error)}`);
    if (!result) continue;
    if (result.size !== size) throw new Error("not all of the file was analysed");
    return;
  }
}
