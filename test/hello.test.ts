import { expect, test } from "vitest";
import { callWorker } from "./support/call.ts";

test("GET /hello sends its two words as two chunks, one second apart", async () => {
  const { response } = await callWorker("/hello");
  const chunks: string[] = [];
  const times: number[] = [];
  for await (const chunk of (response.body as ReadableStream<Uint8Array>).pipeThrough(
    new TextDecoderStream(),
  )) {
    chunks.push(chunk);
    times.push(Date.now());
  }
  expect(response.headers.get("Content-Type")).toBe("text/plain; charset=utf-8");
  expect(chunks).toEqual(["Hello,", "world!"]);
  expect((times[1] ?? 0) - (times[0] ?? 0)).toBeGreaterThanOrEqual(950);
});
