/** What a client of `/fetch` gets behind an edge that compresses what it may: validators that the upstream knows. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { callWorker } from "../../support/call.ts";
import { platform } from "../../support/platform/platform.ts";
import { resetUpstream } from "../../support/scripted-upstream.ts";

const TEXT = "0123456789".repeat(200);

beforeEach(() => {
  platform.edgeCompresses = true;
});
afterEach(() => platform.reset());

async function get(headers: Record<string, string>) {
  resetUpstream(() => new Response(TEXT, { headers: { "Content-Type": "text/plain", ...headers } }));
  const { response, settled } = await callWorker("/fetch/scripted/a.txt", {
    headers: { "Accept-Encoding": "gzip" },
  });
  const text = await response.text();
  await settled();
  return { headers: response.headers, text };
}

test.each([
  [undefined, "no-transform"],
  ["private, max-age=5", "private, max-age=5, no-transform"],
  ["No-Transform", "No-Transform"],
])("a strong ETag stays strong, with Cache-Control: %s", async (cacheControl, sent) => {
  const own: Record<string, string> = cacheControl ? { "Cache-Control": cacheControl } : {};
  const { headers, text } = await get({ ETag: '"v1"', ...own });
  expect([headers.get("ETag"), headers.get("Content-Encoding"), text]).toEqual(['"v1"', null, TEXT]);
  expect(headers.get("Cache-Control")).toBe(sent);
});

test.each([[{}], [{ ETag: 'W/"v1"' }]])(
  "with %o there is nothing to keep: it may be compressed",
  async (own) => {
    const { headers } = await get({ ...own });
    expect([headers.get("Content-Encoding"), headers.get("Cache-Control")]).toEqual(["gzip", null]);
  },
);
