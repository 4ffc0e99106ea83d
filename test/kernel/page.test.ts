/** Pages that are made once, and sent only to those who do not have them. */
import { describe, expect, test } from "vitest";
import { servePage } from "../../src/kernel/page.ts";
import { callWorker } from "../support/call.ts";

const get = (ifNoneMatch?: string, origin = "https://a.example") =>
  new Request(`${origin}/x`, ifNoneMatch === undefined ? {} : { headers: { "If-None-Match": ifNoneMatch } });

test("a page is made once for each origin", async () => {
  const made: string[] = [];
  const serve = servePage({ "X-A": "1" }, (origin) => {
    made.push(origin);
    return `from ${origin}`;
  });
  for (const origin of ["https://a.example", "https://b.example", "https://a.example"]) {
    const response = await serve(get(undefined, origin));
    expect([response.headers.get("X-A"), await response.text()]).toEqual(["1", `from ${origin}`]);
  }
  expect(made).toEqual(["https://a.example", "https://b.example"]);
});

test("whoever makes up origins does not fill the memory", async () => {
  let made = 0;
  const serve = servePage({}, () => String(++made));
  for (let n = 0; n < 20; n++) await serve(get(undefined, `https://${n}.example`));
  await serve(get(undefined, "https://0.example"));
  expect(made).toBe(21);
});

describe("If-None-Match", () => {
  const serve = servePage({}, () => "text");
  test.each([
    ["{etag}", 304],
    ["W/{etag}", 304],
    ['"other", {etag}', 304],
    ["*", 304],
    ['"other"', 200],
    ["", 200],
  ])("%s is a %i", async (header, expected) => {
    const etag = (await serve(get())).headers.get("ETag") ?? "";
    expect(etag).toMatch(/^"[\w-]+"$/);
    const { status, headers } = await serve(get(header.replace("{etag}", etag)));
    expect([status, headers.get("ETag")]).toEqual([expected, etag]);
  });
});

test.each(["/", "/docs", "/openapi.json"])(
  "%s has an ETag, and is a 304 for whoever has it",
  async (path) => {
    const { response } = await callWorker(path);
    const etag = response.headers.get("ETag") ?? "";
    const text = await response.text();
    const again = await callWorker(path);
    expect([await again.response.text(), again.response.headers.get("ETag")]).toEqual([text, etag]);
    const { response: unchanged } = await callWorker(path, { headers: { "If-None-Match": etag } });
    expect([unchanged.status, await unchanged.text()]).toEqual([304, ""]);
  },
);
