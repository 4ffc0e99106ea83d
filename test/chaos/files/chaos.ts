/**
 * Chaos for resumable uploads. Clients of many kinds upload at the same time, while the runtime is killed and started
 * again, at random moments and at those that matter most. Then the clients finish, and uploads that no client waits
 * for must be completed by their alarms. Finally everything is removed through the API, and nothing may be left.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { checkFile, listFiles, type Sightings, watch } from "./check.ts";
import { Crowd, type Finished } from "./crowd.ts";
import { type Disk, readDisk } from "./disk.ts";
import { removeAll } from "./remove.ts";
import { breakSomething, type Damage } from "./sabotage.ts";
import { type Kill, Server } from "./server.ts";
import { strike } from "./strike.ts";
import { World } from "./world.ts";

/** How long clients may take to finish after the last kill. */
const FINISH_MS = { chaos: 90_000, control: 5_000 };
/** `CHECK_MS` in src/files/resumable/session.ts, and the delay of an overdue alarm. */
const COMPLETE_AGAIN_MS = 15_000 + 3_000;
/** How long the catalogue may take to collect what was removed. */
const COLLECT_MS = 5_000;

export interface ChaosOptions {
  kills: number;
  seed: number;
  /** What Sluice stores is damaged; the checks must find the damage. */
  isControl: boolean;
  onLine: (line: string) => void;
}

export interface Record {
  world: World;
  kills: Kill[];
  /** How many kills came at which moment. */
  aims: Map<string, number>;
  uploads: Finished[];
  /** Uploads that clients abandoned or did not finish in time. */
  unfinished: string[];
  seen: Sightings;
  /** What was on disk before everything was removed. */
  settled: Disk;
  /** Files that their clients do not know about, because a response was lost. */
  orphanFiles: number;
  /** Keys in the bucket after the removal, and how long the collection took. */
  collected: { left: string[]; afterMs: number };
  left: Disk;
  tookMs: number;
}

export async function runChaos(options: ChaosOptions): Promise<Record> {
  const startedAtMs = performance.now();
  await using server = new Server({ isForgetful: options.isControl, onLine: options.onLine });
  await server.start();
  const world = new World(() => server.url);
  const crowd = new Crowd(world, options.seed);
  const watching = new AbortController();
  const seeing = watch(world, crowd.sources, watching.signal);
  const working = crowd.work();
  const aims = await strike(server, world, { ...options, isAimed: !options.isControl });
  crowd.close();
  await Promise.race([
    working,
    sleep(FINISH_MS[options.isControl ? "control" : "chaos"], undefined, { ref: false }),
  ]);
  if (!options.isControl) await untilCompleted(server);
  const damage: Damage = options.isControl ? await breakSomething(server, world, crowd.sources) : {};
  watching.abort();
  const seen = await seeing;
  const settled = await readStoppedDisk(server);
  const orphanFiles = await checkAll(world, crowd);
  const found = settled.sessions.map(({ id }) => id);
  await removeAll(world, found, damage.spared ?? []);
  const collected = await untilCollected(server);
  const left = await readLeftovers(server);
  return {
    world,
    kills: server.kills,
    aims,
    uploads: crowd.finished,
    unfinished: crowd.unfinished,
    seen,
    settled,
    orphanFiles,
    collected,
    left,
    tookMs: performance.now() - startedAtMs,
  };
}

/** Waits as long as the alarms need to complete what no client waits for. */
async function untilCompleted({ kills }: Server): Promise<void> {
  const lastMs = kills.at(-1)?.atMs ?? 0;
  await sleep(Math.max(0, lastMs + COMPLETE_AGAIN_MS - performance.now()));
}

async function readStoppedDisk(server: Server): Promise<Disk> {
  await server.stop();
  const disk = readDisk(server.storage);
  await server.start();
  return disk;
}

/** The bucket is empty a moment before the catalogue records it: an alarm that the stop has cut off goes on later. */
async function readLeftovers(server: Server): Promise<Disk> {
  const disk = await readStoppedDisk(server);
  if (disk.strays > 0) await sleep(COLLECT_MS);
  await server.stop();
  return readDisk(server.storage);
}

/** Reads every file; returns how many of them no client knows about. */
async function checkAll(world: World, { sources, known }: Crowd): Promise<number> {
  const files = await listFiles(world);
  for (const { id, filename } of files) {
    const source = sources.get(filename);
    if (source) await checkFile(world, id, source);
  }
  return files.filter(({ id }) => !known.has(id)).length;
}

async function untilCollected(server: Server): Promise<Record["collected"]> {
  const bucket = await server.bucket();
  const beganAtMs = performance.now();
  for (;;) {
    // Not the list of objects that the watchdog tends.
    const left = (await bucket.list()).objects
      .map(({ key }) => key)
      .filter((key) => !key.startsWith("sluice/"));
    const afterMs = performance.now() - beganAtMs;
    if (left.length === 0 || afterMs > COLLECT_MS) return { left, afterMs };
    await sleep(100);
  }
}
