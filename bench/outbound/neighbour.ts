/**
 * A noisy neighbour: one limit key with ten thousand calls that wait, beside a hundred keys with one call each. How long do
 * the latter wait, compared with what they would have waited alone? The two alternate, and the figures are medians of the
 * rounds. Measured at the object itself, from within workerd.
 */
import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { join } from "node:path";
import { z } from "zod";
import { startWorkerd } from "../support/workerd.ts";
import { median } from "../table.ts";
import { renderTargets } from "../targets.ts";

const NOISY = 10_000;
const SMALL = 100;
const CONCURRENCY = 10;
const HOLD_MS = 20;
const ALTERNATIONS = 3;

const waitsSchema = z.array(z.number());

/** Resolves to the text to print. */
export async function benchNeighbour(): Promise<string> {
  console.error("measuring what a noisy neighbour costs …");
  const shared = {
    origin: "http://127.0.0.1:9",
    concurrency: CONCURRENCY,
    max_waiters: 100_000,
    max_wait_ms: 300_000,
  };
  await using worker = await startWorkerd({
    vars: { ACCESS: "local", DATA_UPSTREAM: "shared", UPSTREAMS: { shared } },
    around: {
      code: stripTypeScriptTypes(readFileSync(join(import.meta.dirname, "neighbour-worker.ts"), "utf8")),
      objects: [],
    },
  });
  const measure = async (noisy: number) => {
    const response = await fetch(`${worker.url}/neighbour?noisy=${noisy}&small=${SMALL}&holdMs=${HOLD_MS}`);
    const waitsMs = waitsSchema.parse(await response.json());
    return { meanMs: waitsMs.reduce((a, b) => a + b, 0) / waitsMs.length, maxMs: Math.max(...waitsMs) };
  };
  await measure(0); // warms up
  const rounds: Record<"alone" | "beside", Awaited<ReturnType<typeof measure>>>[] = [];
  for (let i = 0; i < ALTERNATIONS; i++)
    rounds.push({ alone: await measure(0), beside: await measure(NOISY) });
  const of = (which: "alone" | "beside", what: "meanMs" | "maxMs") =>
    median(rounds.map((round) => round[which][what]));
  const ratio = (what: "meanMs" | "maxMs") => of("beside", what) / of("alone", what);
  const describe = (name: string, what: "meanMs" | "maxMs"): string =>
    `${name} wait, beside ÷ alone (${of("beside", what).toFixed(0)} and ${of("alone", what).toFixed(0)} ms)`;
  return [
    `${SMALL} keys with one call each, alone and beside one with ${NOISY.toLocaleString("en")} that wait; ${CONCURRENCY} permits, ${HOLD_MS} ms a call.`,
    "",
    renderTargets([
      { what: describe("mean", "meanMs"), before: "", value: ratio("meanMs"), atMost: 1.5 },
      { what: describe("longest", "maxMs"), before: "", value: ratio("maxMs"), atMost: 1.5 },
    ]),
  ].join("\n");
}
