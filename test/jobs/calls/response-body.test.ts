import { describe, expect, test } from "vitest";
import { keepBody, MAX_KEPT_BYTES } from "../../../src/jobs/calls/response-body.ts";

const kept = async (body: BodyInit | null, type?: string) =>
  keepBody(new Response(body, type === undefined ? {} : { headers: { "Content-Type": type } }));

describe("the body of a response is kept as", () => {
  test.each<[string, BodyInit | null, string, object]>([
    ["nothing, if there is none", null, "text/plain", { body: null, encoding: null }],
    ["nothing, if it is empty", "", "application/json", { body: null, encoding: null }],
    ["JSON", '{"a":[1]}', "application/json; charset=utf-8", { body: { a: [1] }, encoding: "json" }],
    ["JSON of a subtype", "7", "application/problem+json", { body: 7, encoding: "json" }],
    ["text, if it is no JSON", "{", "application/json", { body: "{", encoding: "text" }],
    ["text, if its type is not JSON", "{}", "text/plain", { body: "{}", encoding: "text" }],
    [
      "text, if a number in it would change",
      '{"id":12345678901234567890}',
      "application/json",
      { body: '{"id":12345678901234567890}', encoding: "text" },
    ],
    ["text in its charset", new Uint8Array([0x6b, 0xf6]), "text/plain;charset=ISO-8859-1", { body: "kö" }],
    ["text without its BOM", "\ufeff{}", "application/json", { body: {}, encoding: "json" }],
    [
      "base64, if it is no text",
      new Uint8Array([0xff, 0xfe]),
      "text/plain",
      { body: "//4=", encoding: "base64" },
    ],
    ["base64, if it has a NUL", "a\0b", "text/plain", { body: "YQBi", encoding: "base64" }],
    ["base64, in a charset that nobody knows", "a", "text/plain; charset=klingon", { encoding: "base64" }],
  ])("%s", async (_name, body, type, expected) => {
    expect(await kept(body, type)).toMatchObject({ truncated: false, ...expected });
  });

  test("text without a type", async () => {
    expect(await keepBody(new Response(new Blob(["hi"])))).toMatchObject({ body: "hi", encoding: "text" });
  });
});

describe("a body that is too long", () => {
  test("is kept whole up to the limit", async () => {
    expect(await kept("a".repeat(MAX_KEPT_BYTES))).toMatchObject({
      body: "a".repeat(MAX_KEPT_BYTES),
      truncated: false,
    });
  });

  test("is cut, between characters, and is text even if it was JSON", async () => {
    const text = JSON.stringify("ö".repeat(MAX_KEPT_BYTES));
    const { body, encoding, truncated } = await kept(text, "application/json");
    expect([encoding, truncated]).toEqual(["text", true]);
    expect(text.startsWith(String(body))).toBe(true);
    expect(Buffer.byteLength(String(body))).toBe(MAX_KEPT_BYTES - 1);
  });

  test("is not read any further", async () => {
    let sent = 0;
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        sent += 65_536;
        controller.enqueue(new Uint8Array(65_536).fill(97));
      },
    });
    expect((await kept(endless)).truncated).toBe(true);
    expect(sent).toBeLessThan(1024 * 1024);
  });
});
