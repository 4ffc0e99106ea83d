/** When the runtime is killed: at any moment, or just when something can go wrong. */
import { setTimeout as sleep } from "node:timers/promises";
import { Random } from "../random.ts";
import type { Server } from "./server.ts";
import type { Moment, World } from "./world.ts";

/** As long as this after a start, a kill can come. */
const KILL_WITHIN_MS = 1_500;

interface Aim {
  at: Moment;
  /** Of all kills. */
  share: number;
  /** How long after the moment the kill can come. */
  withinMs: number;
}

const AIMS: Aim[] = [
  { at: "sealing", share: 0.25, withinMs: 40 },
  { at: "assembling", share: 0.2, withinMs: 250 },
  { at: "removing", share: 0.2, withinMs: 25 },
];

export interface Strikes {
  kills: number;
  seed: number;
  /** Some kills wait for their moment; else all come at any. */
  isAimed: boolean;
}

/** Kills and starts it again so many times; tells how many kills came at which moment. */
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

/** `chance` is from 0 to 1. Gives the name of the moment. */
async function untilMoment(world: World, aim: Aim | undefined, chance: number): Promise<string> {
  if (!aim) {
    await sleep(chance * KILL_WITHIN_MS);
    return "any moment";
  }
  if (!(await world.awaitMoment(aim.at, KILL_WITHIN_MS))) return "any moment";
  await sleep(chance * aim.withinMs);
  return aim.at;
}
