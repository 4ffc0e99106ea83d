/**
 * The blows. Most are SIGKILLs, at a random time or right after a certain event. Between them objects are made to
 * crash and the runtime is reloaded. After some kills rows are corrupted before it starts again.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Random } from "../random.ts";
import type { Server } from "./server.ts";
import { spoilSomeRows } from "./spoil.ts";
import type { Moment, World } from "./world.ts";

/** The time from a start to the next blow. */
const PAUSE_MS = [100, 3_500] as const;
/** How long a kill waits for its event. */
const MOMENT_MS = 1_500;
/** A pause without kills after every 25, so that interrupted tasks can recover. */
const REST_EVERY = 25;
const REST_MS = 20_000;
const CRASH_SHARE = 0.4;
/** After this share of the crashes there is a pause, in which the runtime tries the object's alarm again. */
const LEFT_SHARE = 0.5;
const LEFT_MS = 4_000;
/** How many invocations die after a start, each while it submits a task, and perhaps carries what others submit. */
const CARRIERS = 2;
const RELOAD_SHARE = 0.08;
const SPOIL_SHARE = 0.12;

interface Aim {
  name: string;
  moment: Moment;
  /** The share of all kills. */
  share: number;
  /** How long after the event the kill may come. */
  withinMs: number;
}

const AIMS: Aim[] = [
  { name: "just after a submission", moment: "submit", share: 0.25, withinMs: 25 },
  { name: "as a task begins", moment: "begin", share: 0.1, withinMs: 30 },
  { name: "mid-task", moment: "begin", share: 0.15, withinMs: 600 },
  { name: "as a step is recorded", moment: "step", share: 0.05, withinMs: 320 },
  { name: "before the finish", moment: "end", share: 0.2, withinMs: 12 },
  { name: "at a cancel", moment: "cancel", share: 0.05, withinMs: 25 },
  { name: "at a signal", moment: "signal", share: 0.1, withinMs: 25 },
];

export interface Strikes {
  kills: number;
  seed: number;
}

/** Strikes, and records each blow in the history of the world. */
export async function strike(server: Server, world: World, { kills, seed }: Strikes): Promise<void> {
  const random = new Random(seed, "strike");
  for (let kill = 1; kill <= kills; kill++) {
    await sleep(random.between(...PAUSE_MS));
    for (let n = 0; n < CARRIERS; n++) await killCarrier(server, world);
    if (random.chance(CRASH_SHARE)) await crashSomething(server, world, random);
    if (random.chance(RELOAD_SHARE)) await reload(server, world);
    const aim = await untilMoment(world, random);
    note(world, `kill ${aim}`);
    await server.stop("SIGKILL");
    const [chance, spoilSeed] = [random.next(), random.between(0, 1e9)];
    // At least once, even in a short run.
    if (chance < SPOIL_SHARE || kill === Math.min(2, kills)) spoil(server, world, spoilSeed);
    await server.start();
    if (kill % REST_EVERY === 0 && kill < kills) await sleep(REST_MS);
  }
  // At least one of each kind.
  await crashSomething(server, world, random);
  await reload(server, world);
}

/** Waits for the event to aim at. Returns its name. */
async function untilMoment(world: World, random: Random): Promise<string> {
  const [chance, share] = [random.next(), random.next()];
  let left = chance;
  const aim = AIMS.find((candidate) => {
    left -= candidate.share;
    return left < 0;
  });
  if (!aim || !(await world.awaitMoment(aim.moment, MOMENT_MS))) return "at a random time";
  await sleep(share * aim.withinMs);
  return aim.name;
}

async function crashSomething(server: Server, world: World, random: Random): Promise<void> {
  const [isLedger, isLeft] = [random.chance(0.5), random.chance(LEFT_SHARE)];
  const shard = `s${random.between(0, 3)}`;
  const atMs = Date.now();
  if (isLedger) {
    await server.crashLedger(shard);
    note(world, "crash of a ledger", atMs);
  } else {
    const taskId = await server.crashRunner();
    if (taskId !== undefined) world.history.blows.push({ is: "crash of a runner", atMs, taskId });
  }
  if (isLeft) await sleep(LEFT_MS);
}

/** Just before or after something is submitted. */
async function killCarrier(server: Server, world: World): Promise<void> {
  await world.awaitMoment("submit", MOMENT_MS);
  await server.killCarrier();
  note(world, "death of a carrier");
}

async function reload(server: Server, world: World): Promise<void> {
  note(world, "reload");
  await server.stop("SIGTERM");
  await server.start();
}

/** Corrupts a few rows of every shard. */
function spoil(server: Server, world: World, seed: number): void {
  const spoilt = server.ledgers.flatMap((path) => spoilSomeRows(path, seed));
  if (spoilt.length > 0) note(world, "rows corrupted");
  world.history.spoilt.push(...spoilt);
}

function note(world: World, is: string, atMs = Date.now()): void {
  world.history.blows.push({ is, atMs });
}
