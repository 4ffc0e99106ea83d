/** The body of a request on its way to the object of an upload: whole, or seen to be broken off. */
import { describe, expect, test } from "vitest";
import { relay } from "../../../src/files/resumable/relay.ts";
import { bytesOf, stalledBody } from "../../support/uploads.ts";

const BYTES = bytesOf(300_000);

const bodyOf = (bytes: Uint8Array<ArrayBuffer>) => new Response(bytes).body;
const read = async (stream: ReadableStream | null) =>
  Buffer.from(await new Response(stream).arrayBuffer()).equals(BYTES);

test.each([BYTES.length, null])("a body of %s bytes arrives as it is", async (length) => {
  const { stream, relayed } = relay(bodyOf(BYTES), length);
  expect(await read(stream)).toBe(true);
  await relayed;
});

test("no body is none", async () => {
  const { stream, relayed } = relay(null, 0);
  expect(stream).toBeNull();
  await relayed;
});

describe("a body that is shorter than announced is an error for its reader", () => {
  test("if its sender breaks off", async () => {
    const { body, breakOff } = stalledBody(BYTES);
    const { stream, relayed } = relay(body, BYTES.length + 1);
    const received = read(stream);
    await breakOff();
    await expect(received).rejects.toThrow();
    await relayed;
  });

  test("if it just ends", async () => {
    const { stream, relayed } = relay(bodyOf(BYTES), BYTES.length + 1);
    await expect(read(stream)).rejects.toThrow();
    await relayed;
  });
});

test("a reader that wants no more ends it", async () => {
  const { body } = stalledBody(BYTES);
  const { stream, relayed } = relay(body, BYTES.length);
  await stream?.cancel();
  await relayed;
});
