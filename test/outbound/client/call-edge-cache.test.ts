/** Cloudflare's own cache is in front of every origin that the Worker fetches from. No call may meet it. */
import { reset } from "cloudflare:test";
import { afterEach, beforeEach, expect, test } from "vitest";
import { callWorker } from "../../support/call.ts";
import { clearEdgeCache } from "../../support/platform/network.ts";
import { platform } from "../../support/platform/platform.ts";
import { keepQuiet } from "../../support/quiet.ts";

const API = "https://api.example.com";
const FILES = "https://files.example.net";

keepQuiet();
beforeEach(() => reset());
afterEach(() => {
  platform.reset();
  clearEdgeCache();
});

async function get(path: string, headers: Record<string, string> = {}): Promise<string> {
  const { response, settled } = await callWorker(`/fetch/${path}`, { headers });
  const text = await response.text();
  await settled();
  return text;
}

test("a caller is not served what another's key fetched", async () => {
  platform.origins.set(API, ({ headers }) => new Response(`for ${headers.get("x-api-key")}`));
  const as = async (key: string) => get("edge-keyed/report.csv", { "X-Api-Key": key });
  expect([await as("ada"), await as("bob")]).toEqual(["for ada", "for bob"]);
});

test("a response is not kept longer than it, or Sluice's own cache, says", async () => {
  let calls = 0;
  platform.origins.set(API, () => new Response(`response ${++calls}`));
  expect([await get("edge-plain/a.pdf"), await get("edge-plain/a.pdf")]).toEqual([
    "response 1",
    "response 2",
  ]);
});

test("nor is one that a redirect leads to", async () => {
  let calls = 0;
  platform.origins.set(API, () => Response.redirect(`${FILES}/a.zip`));
  platform.origins.set(FILES, () => new Response(`response ${++calls}`));
  expect([await get("edge-plain/a.zip"), await get("edge-plain/a.zip")]).toEqual([
    "response 1",
    "response 2",
  ]);
});
