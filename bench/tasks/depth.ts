/**
 * What the ledger's work costs when it keeps many tasks: the same actions on objects that hold 1,000, 100,000 and
 * 1,000,000 tasks, in turn.
 *
 * Clocks stand still inside a Worker. So the time of many actions is measured together from outside, minus the time
 * of as many empty actions. The figure includes an action's commit, but not the call that requests it. The writes of
 * a round are undone before the next, so that a small ledger stays small and its queue stays long.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type Column, median } from "../table.ts";
import type { TaskServer } from "./servers.ts";

export const SIZES = [1_000, 100_000, 1_000_000];

/** The actions that should cost no more in a large ledger. */
export const CLAIMS = ["submit and claim", "claim the next"];
const LISTINGS = [
  "list a page",
  "list a page of a status",
  "list a page of a type and a status",
  "list an empty page",
];

/** Few enough to leave the smallest ledger almost unchanged. */
const CLAIM_PLAN = { rounds: 15, times: 100 };
/** After the undo, the largest ledger keeps writing for a while. */
const RESTORED_MS = 100;
const LISTING_ROUNDS = 5;
const LISTING_MS = 150;

/** µs per action: a row per round, and in it a figure per size. */
type Rounds = number[][];

export interface Depth {
  /** A column per size, and for all but the smallest one with the ratio to the smallest. */
  columns: Column[];
  /** The cost of the action in the largest ledger ÷ its cost in the smallest. */
  growth: (action: string) => number;
}

export async function measureDepth(server: TaskServer): Promise<Depth> {
  for (const size of SIZES) {
    console.error(`filling a ledger with ${size.toLocaleString("en")} tasks …`);
    await post(`${server.url}/bench/fill?tasks=${size}`);
  }
  const measured = new Map<string, Rounds>();
  for (const action of CLAIMS) measured.set(action, await timeClaim(server, action));
  for (const action of LISTINGS) measured.set(action, await timeListing(server, action));

  const medianOf = (action: string, of: (round: number[]) => number | undefined) =>
    median((measured.get(action) ?? []).map((round) => of(round) ?? Number.NaN));
  const growthTo = (i: number) => (action: string) =>
    medianOf(action, (round) => (round[i] ?? Number.NaN) / (round[0] ?? Number.NaN));
  const column = (name: string, digits: number, of: (action: string) => number): Column => ({
    name,
    figures: [...CLAIMS, ...LISTINGS].map((what) => ({ what, value: of(what), digits })),
  });
  return {
    columns: SIZES.flatMap((size, i) => [
      column(`${size.toLocaleString("en")}: µs`, 0, (action) => medianOf(action, (round) => round[i])),
      ...(i === 0 ? [] : [column(`÷ ${SIZES[0]?.toLocaleString("en")}`, 2, growthTo(i))]),
    ]),
    growth: growthTo(SIZES.length - 1),
  };
}

async function timeClaim(server: TaskServer, action: string): Promise<Rounds> {
  console.error(`measuring: ${action} …`);
  const { rounds, times } = CLAIM_PLAN;
  const measure = async (size: number) => {
    const nothingMs = await repeat(server, "nothing", size, times);
    const tookMs = await repeat(server, action, size, times);
    return ((tookMs - nothingMs) * 1000) / times;
  };
  const round = async () => {
    const values = await measureEach(measure);
    await measureEach(async (size) => post(`${server.url}/bench/restore?tasks=${size}`));
    await sleep(RESTORED_MS);
    return values;
  };
  await round(); // warms the page cache
  return repeatRounds(rounds, round);
}

/** Repeats the action in each ledger for about `LISTING_MS`. */
async function timeListing(server: TaskServer, action: string): Promise<Rounds> {
  console.error(`measuring: ${action} …`);
  const onceMs = await measureEach(async (size) => {
    await repeat(server, action, size, 1); // warms the page cache
    return (await repeat(server, action, size, 10)) / 10;
  });
  const measure = async (size: number, i: number) => {
    const times = Math.ceil(LISTING_MS / (onceMs[i] ?? LISTING_MS));
    return ((await repeat(server, action, size, times)) * 1000) / times;
  };
  return repeatRounds(LISTING_ROUNDS, () => measureEach(measure));
}

async function measureEach<T>(measure: (size: number, i: number) => Promise<T>): Promise<T[]> {
  const values: T[] = [];
  for (const [i, size] of SIZES.entries()) values.push(await measure(size, i));
  return values;
}

async function repeatRounds(rounds: number, measure: () => Promise<number[]>): Promise<Rounds> {
  const values: Rounds = [];
  while (values.length < rounds) values.push(await measure());
  return values;
}

/** Returns how long all repetitions took, in ms. */
async function repeat(server: TaskServer, action: string, size: number, times: number): Promise<number> {
  const query = new URLSearchParams({ action, tasks: String(size), times: String(times) });
  const startMs = performance.now();
  await post(`${server.url}/bench/repeat?${query.toString()}`);
  return performance.now() - startMs;
}

async function post(url: string): Promise<void> {
  const response = await fetch(url, { method: "POST" });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`${url}: ${response.status} ${text}`);
}
