/** What one task of the run does, made from its number. The Worker follows the plan, and the checks know it. */
import { Random } from "../random.ts";
import { type Made, makeStepName, makeThrown, makeValue } from "./values.ts";

export const LANES = ["fast", "long"] as const;
export const typeOf = (lane: (typeof LANES)[number]) => `values_${lane}`;

/** A call that tells about the work: its arguments are anything. */
interface Telling {
  by: "log" | "progress";
  args: unknown[];
}

export interface Plan {
  lane: (typeof LANES)[number];
  tellings: Telling[];
  /** A step in the first attempt, which then fails, and is repeated by the second. */
  step: { name: unknown; isKept: boolean; result: Made } | undefined;
  ending: { by: "return" | "throw" | "refuse"; made: Made };
  /** A part of the code goes on beside the rest, and is left over when that has ended. */
  hasLeftover: boolean;
}

export function planOf(seed: number, number: number): Plan {
  const random = new Random(seed, `values ${number}`);
  const tellings = Array.from({ length: random.between(0, 3) }, () => makeTelling(random));
  const step = random.chance(0.4) ? { ...makeStepName(random), result: makeValue(random) } : undefined;
  const by = random.chance(0.5) ? "return" : random.chance(0.7) ? "throw" : "refuse";
  const made = by === "return" ? makeValue(random) : makeThrown(random);
  const lane = random.chance(0.7) ? "fast" : "long";
  return { lane, tellings, step, ending: { by, made }, hasLeftover: random.chance(0.2) };
}

function makeTelling(random: Random): Telling {
  const any = () => makeThrown(random).value;
  if (random.chance(0.5))
    return { by: "progress", args: [random.chance(0.5) ? random.next() * 2 - 0.5 : any(), any()] };
  return {
    by: "log",
    args: [random.chance(0.8) ? "info" : any(), random.chance(0.5) ? "told" : any(), any()],
  };
}
