/**
 * Empties storage between test files, since they share their Workers. At the end of each file, and not only at the
 * beginning of the next: that one has stubs of its own, and an object that still runs for the file before would write
 * its state once more.
 */
import { reset } from "cloudflare:test";
import { afterAll, beforeAll } from "vitest";
import { platform } from "./platform/platform.ts";

beforeAll(async () => reset());
afterAll(async () => {
  await platform.untilQuiet();
  await reset();
  platform.reset();
});
