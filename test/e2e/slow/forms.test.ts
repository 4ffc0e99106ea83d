/** Form data that is wrong in every possible way; `npm run chaos -- forms` sends a hundred thousand. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type RunningMiniflare, startMiniflare } from "../../../bench/support/miniflare.ts";
import { attack, type Findings, removeFiles } from "../../chaos/forms/attack.ts";
import { readHoldings } from "../../chaos/forms/storage.ts";
import { temporaryFolder } from "../../support/dev-server.ts";
import { fromWorkshop } from "../../support/node/built-worker.ts";

/** With this seed, these few forms have 75 of the 77 mutations in them. */
const SEED = 364;
const COUNT = 600;

const storage = temporaryFolder();
const failures: string[] = [];
let server: RunningMiniflare | undefined;
let findings: Findings;

beforeAll(async () => {
  server = await startMiniflare(
    { ACCESS: "local" },
    {
      main: await fromWorkshop("/built"),
      storageDir: storage.path,
      onLog: ({ level, message }) => {
        if (level === "error" || /uncaught|unhandled/i.test(message)) failures.push(message);
      },
    },
  );
  findings = await attack({ url: server.url, seed: SEED, count: COUNT, inFlight: 8, readShare: 0.5 });
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  storage.remove();
});

test("each gets the right response in time: valid forms are stored as they were sent, others are rejected", () => {
  expect(findings.broken).toEqual([]);
});

test("some are accepted, and each kind of rejection occurs", () => {
  const statuses = [...findings.outcomes.keys()].filter((end) => /^\d+$/.test(end));
  expect(statuses).toEqual(expect.arrayContaining(["201", "400", "413", "415", "422"]));
  expect([...findings.outcomes.values()].reduce((sum, times) => sum + times, 0)).toBe(COUNT);
  expect(findings.filesRead).toBeGreaterThan(20);
});

test("the catalogue and the bucket contain what was acknowledged and nothing else, and nothing once that is removed", async () => {
  const count = findings.kept.length;
  const read = () => readHoldings(storage.path);
  const options = { timeout: 20_000, interval: 200 };
  await expect
    .poll(read, options)
    .toMatchObject({ files: count, strays: 0, objects: count, unfinishedUploads: 0 });
  expect(await removeFiles(String(server?.url), findings.kept)).toBe(0);
  await expect
    .poll(read, options)
    .toEqual({ files: 0, strays: 0, objects: 0, unfinishedUploads: 0, blobs: 0 });
});

test("nothing failed inside", () => {
  expect(failures).toEqual([]);
});
