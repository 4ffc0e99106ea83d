/**
 * Where one semaphore's object ends, and what shards add: calls per second with 1, 2, 4 and 8 objects, to an upstream that
 * responds at once and has permits for all. Each call takes an object 25 ms (shards-worker.ts), so that the objects are the
 * bottleneck, and not this machine. So the figures say what shards add, not how fast an object is.
 */
import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { join } from "node:path";
import { measureRate } from "../load.ts";
import { startUpstream } from "../support/upstream.ts";
import { startWorkerd } from "../support/workerd.ts";
import type { Figure } from "../table.ts";

const SHARDS = [1, 2, 4, 8];
const CALL_MS = 25;
const CONCURRENCY = 256;

export async function measureShards(): Promise<Figure[]> {
  await using upstream = await startUpstream();
  await upstream.reset(0);
  const settings = { origin: upstream.url, concurrency: CONCURRENCY, cache_seconds: 0 };
  const nameOf = (shards: number) => `shards-${shards}`;
  await using sluice = await startWorkerd({
    vars: {
      ACCESS: "local",
      DATA_UPSTREAM: nameOf(1),
      CALL_MS,
      UPSTREAMS: Object.fromEntries(SHARDS.map((shards) => [nameOf(shards), { ...settings, shards }])),
    },
    around: {
      code: stripTypeScriptTypes(readFileSync(join(import.meta.dirname, "shards-worker.ts"), "utf8")),
      objects: [],
    },
  });
  const figures: Figure[] = [];
  for (const shards of SHARDS) {
    const callsPerSecond = await measureRate(`${sluice.url}/fetch/${nameOf(shards)}/todos/1`);
    const what = `${shards === 1 ? "1 object" : `${shards} shards`}, each call ${CALL_MS} ms: calls/s`;
    figures.push({ what, value: callsPerSecond, digits: 0 });
  }
  const [one, , , eight] = figures;
  if (one && eight) figures.push({ what: "8 shards ÷ 1 object", value: eight.value / one.value, digits: 1 });
  return figures;
}
