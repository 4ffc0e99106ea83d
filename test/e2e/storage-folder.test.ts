/** Where the tests themselves store: nothing of a run that was killed stays in memory. */
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { temporaryFolder } from "../support/dev-server.ts";
import { makeStorageFolder, removeLeftovers } from "../support/node/storage-folder.ts";

const parent = temporaryFolder();
afterAll(() => parent.remove());

test("folders of processes that have ended are removed, and no others", () => {
  const { pid: ended } = spawnSync("true");
  const own = `sluice-tests-${process.pid}`;
  for (const name of [`sluice-tests-${ended}`, own, "sluice-tests-1", "sluice-tests", "miniflare-1"]) {
    mkdirSync(join(parent.path, name));
    writeFileSync(join(parent.path, name, "x"), "x");
  }
  removeLeftovers(parent.path);
  expect(readdirSync(parent.path).toSorted()).toEqual(["miniflare-1", "sluice-tests", "sluice-tests-1", own]);
});

test("where there is no such file system, the tests store where the system does", () => {
  expect(makeStorageFolder(join(parent.path, "none"))).toBeUndefined();
});
