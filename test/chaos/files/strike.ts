/** When the runtime is killed: at a random moment, or exactly when something can go wrong. */
import { setTimeout as sleep } from "node:timers/promises";
import { Random } from "../random.ts";
import type { Server } from "./server.ts";
import type { Moment, World } from "./world.ts";

/** A kill comes at most this long after a start. */
const KILL_WITHIN_MS = 1_500;

interface Aim {
  at: Moment;
  /** The share of all kills. */
  share: number;
  /** The kill comes at most this long after the moment. */
  withinMs: number;
}

const AIMS: Aim[] = [
  { at: "completing", share: 0.25, withinMs: 40 },
  { at: "concatenating", share: 0.2, withinMs: 250 },
  { at: "removing", share: 0.2, withinMs: 25 },
];

export interface Strikes {
  kills: number;
  seed: number;
  /** Some kills wait for their moment; otherwise all of them are random. */
  isAimed: boolean;
}

/** Kills and restarts the server; returns how many kills came at which moment. */
export async function strike(server: Server, world: World, strikes: Strikes): Promise<Map<string, number>> {
  const random = new Random(strikes.seed, "kill");
  const hits = new Map<string, number>();
  for (let count = 1; count <= strikes.kills; count++) {
    const aim = chooseAim(random);
    const name = await untilMoment(world, strikes.isAimed ? aim : undefined, random.next());
    await server.kill();
    hits.set(name, (hits.get(name) ?? 0) + 1);
  }
  return hits;
}

function chooseAim(random: Random): Aim | undefined {
  let left = random.next();
  return AIMS.find(({ share }) => {
    left -= share;
    return left < 0;
  });
}

/** `chance` is from 0 to 1. Returns the name of the moment. */
async function untilMoment(world: World, aim: Aim | undefined, chance: number): Promise<string> {
  if (!aim) {
    await sleep(chance * KILL_WITHIN_MS);
    return "any moment";
  }
  if (!(await world.awaitMoment(aim.at, KILL_WITHIN_MS))) return "any moment";
  await sleep(chance * aim.withinMs);
  return aim.at;
}
