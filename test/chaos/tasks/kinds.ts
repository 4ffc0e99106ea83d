/**
 * The task types that the chaos submits, as a table. The Worker makes task types of it (worker.ts), and the checks
 * know from it what each may do. This file depends neither on Node nor on Workers.
 */

export interface Kind {
  name: string;
  /** The share of all tasks. */
  share: number;
  lane: "fast" | "long";
  retries: number;
  /** How many may run at once. */
  cap?: number;
  /** The cap is for each of so many keys. */
  keys?: number;
  /** An operator pauses it from time to time. */
  pauses?: true;
  timeoutMs?: number;
  /** Each step is recorded and takes `stepMs`. */
  steps: number;
  stepMs: number;
  /** A `ctx.sleep` after the steps. After more than 10 s, another execution continues. */
  sleepMs?: number;
  /** `refuse`: throws a NonRetryableError. `hang`: runs until it is told to stop. */
  ending: "return" | "throw" | "refuse" | "hang";
}

export const KINDS: readonly Kind[] = [
  { name: "chaos_quick", share: 0.2, lane: "fast", retries: 0, steps: 0, stepMs: 0, ending: "return" },
  { name: "chaos_steps", share: 0.18, lane: "fast", retries: 3, steps: 3, stepMs: 150, ending: "return" },
  { name: "chaos_long", share: 0.12, lane: "long", retries: 2, steps: 3, stepMs: 300, ending: "return" },
  { name: "chaos_slow", share: 0.04, lane: "long", retries: 1, steps: 2, stepMs: 1_500, ending: "return" },
  {
    name: "chaos_pair",
    share: 0.08,
    lane: "long",
    retries: 1,
    cap: 2,
    pauses: true,
    steps: 1,
    stepMs: 200,
    ending: "return",
  },
  {
    name: "chaos_keyed",
    share: 0.08,
    lane: "fast",
    retries: 1,
    cap: 1,
    keys: 3,
    pauses: true,
    steps: 1,
    stepMs: 150,
    ending: "return",
  },
  // On all shards.
  {
    name: "chaos_halted",
    share: 0.06,
    lane: "fast",
    retries: 2,
    pauses: true,
    steps: 2,
    stepMs: 100,
    ending: "return",
  },
  {
    name: "chaos_only",
    share: 0.06,
    lane: "fast",
    retries: 1,
    cap: 1,
    steps: 1,
    stepMs: 120,
    ending: "return",
  },
  {
    name: "chaos_sleep",
    share: 0.03,
    lane: "fast",
    retries: 1,
    steps: 1,
    stepMs: 100,
    sleepMs: 1_500,
    ending: "return",
  },
  {
    name: "chaos_sleep_long",
    share: 0.02,
    lane: "fast",
    retries: 1,
    steps: 1,
    stepMs: 100,
    sleepMs: 11_000,
    ending: "return",
  },
  { name: "chaos_dead", share: 0.05, lane: "fast", retries: 1, steps: 1, stepMs: 50, ending: "throw" },
  { name: "chaos_refuse", share: 0.04, lane: "long", retries: 3, steps: 0, stepMs: 0, ending: "refuse" },
  {
    name: "chaos_hang",
    share: 0.04,
    lane: "long",
    retries: 1,
    timeoutMs: 800,
    steps: 0,
    stepMs: 0,
    ending: "hang",
  },
  // Longer than the fast lane's budget of 25 s: it is handed over.
  { name: "chaos_marathon", share: 0, lane: "fast", retries: 1, steps: 9, stepMs: 3_000, ending: "return" },
];

/** Submitted once, after the last kill. */
export const MARATHON = "chaos_marathon";
/** Always fails; its dead letters are retried all at once. */
export const DEAD = "chaos_dead";

/** The delays between attempts. */
export const RETRY_DELAYS = { minDelayMs: 100, maxDelayMs: 1_000, factor: 2 } as const;

export interface Input {
  n: number;
  /** Ms since the epoch; 0 if the task may start at any time. */
  notBeforeMs: number;
  /** This many attempts throw although the kind would return. */
  failures: number;
}

export const kindOf = (name: string): Kind | undefined => KINDS.find((kind) => kind.name === name);

/** The key of a task, if its kind has keys. */
export const keyIn = ({ keys }: Kind, { n }: Pick<Input, "n">): string => (keys ? `key ${n % keys}` : "");
