/**
 * Chaos for tasks. Clients submit tasks of many kinds and steer some of them, while the runtime is killed, reloaded
 * and made to crash, and rows are corrupted. Then the run is left alone, and all tasks must end by themselves. At
 * last everything is read back.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Random } from "../random.ts";
import { makeOrder, retryTheDead, runClients, signal, submit } from "./clients.ts";
import { follow } from "./follow.ts";
import { readGuarded, runGuardedClients } from "./guarded.ts";
import { emptyHistory, type History, taskSchema } from "./history.ts";
import { KINDS, kindOf, MARATHON } from "./kinds.ts";
import { keepPausing } from "./pauses.ts";
import { Server } from "./server.ts";
import { strike } from "./strike.ts";
import { startWitness } from "./witness.ts";
import { listTasks, World } from "./world.ts";

/**
 * The time for the remaining tasks to end. A task hit by the last kill waits for its lease, then maybe for a slot.
 */
const SETTLE_MS = 120_000;
const SETTLE_POLL_MS = 1_000;
/** The time for clients to finish after the last kill. */
const CLIENTS_MS = 60_000;
const LIST_EVERY_MS = 1_500;
const READERS = 12;
const CROWD = 8;
/** Shorter runs leave out the long task. */
const KILLS_WITH_MARATHON = 20;

export interface ChaosOptions {
  kills: number;
  seed: number;
  /** The negative control: the ledger and the tasks break their promises. */
  isSabotaged: boolean;
  onLine: (line: string) => void;
}

export async function runChaos(options: ChaosOptions): Promise<History> {
  const startedAtMs = Date.now();
  const history = emptyHistory();
  const world = new World(history, () => server.url);
  await using witness = await startWitness((what) => world.announce(what));
  const { isSabotaged, onLine } = options;
  await using server = new Server({ witness: witness.url, lives: history.lives, isSabotaged, onLine });
  await server.build();
  await server.start();

  const clients = Promise.all([
    runClients(world, options.seed),
    runGuardedClients(world, (name) => new Random(options.seed, name)),
    retryTheDead(world),
    keepListing(world),
    keepPausing(world, options.seed),
  ]);
  await submitCrowds(world);
  await strike(server, world, options);
  if (options.kills >= KILLS_WITH_MARATHON) await submitMarathon(world, options.seed);
  world.isClosed = true;
  const quietAtMs = Date.now();
  await Promise.race([clients, sleep(CLIENTS_MS, undefined, { ref: false })]);
  await untilSettled(world, new Random(options.seed, "signals of the abandoned"));
  history.settledInMs = Date.now() - quietAtMs;
  await readBack(world);
  await readGuarded(world);
  world.isOver = true;
  await clients;
  history.executions = witness.executions;
  await server.stop("SIGTERM");
  history.tookMs = Date.now() - startedAtMs;
  return history;
}

/** Many more tasks of each capped type at once than its cap. */
async function submitCrowds(world: World): Promise<void> {
  for (const kind of KINDS.filter(({ cap }) => cap !== undefined)) {
    const crowd = Array.from({ length: CROWD }, () => ({ type: kind.name, input: plainInput }));
    await submit(world, crowd);
  }
}

async function submitMarathon(world: World, seed: number): Promise<void> {
  const kind = kindOf(MARATHON);
  const random = new Random(seed, "marathon");
  if (kind)
    await submit(
      world,
      [0, 1].map(() => ({ ...makeOrder(random, kind), input: plainInput })),
    );
}

const plainInput = { n: 0, notBeforeMs: 0, failures: 0 };

/** Reads the newest page again and again: neither a corrupted row nor a restart may hide other tasks. */
async function keepListing(world: World): Promise<void> {
  while (!world.isClosed) {
    await listTasks(world, "", 1);
    await sleep(LIST_EVERY_MS);
  }
}

/**
 * Waits until all tasks have ended, but no longer than `SETTLE_MS`. Tasks that were not acknowledged have no client that would
 * send what they wait for: they get it here.
 */
async function untilSettled(world: World, random: Random): Promise<void> {
  const deadlineMs = Date.now() + SETTLE_MS;
  const { badPages, acknowledged } = world.history;
  const senders: Promise<void>[] = [];
  while (Date.now() < deadlineMs) {
    const before = badPages.length;
    const left = await Promise.all(
      ["scheduled", "queued", "running", "cancelling"].map((status) =>
        listTasks(world, `&status=${status}`, 1),
      ),
    );
    if (left.flat().length === 0 && badPages.length === before) break;
    for (const { id, type } of left.flat())
      if (!acknowledged.has(id)) senders.push(signal(world, id, type, random));
    await sleep(SETTLE_POLL_MS);
  }
  await Promise.all(senders);
}

/** Reads every task that was acknowledged or is listed, and its events. */
async function readBack(world: World): Promise<void> {
  const { history } = world;
  history.listed = (await listTasks(world)).map(({ id }) => id);
  const ids = [...new Set([...history.acknowledged, ...history.listed])];
  await Promise.all(
    Array.from({ length: READERS }, async () => {
      for (let id = ids.pop(); id !== undefined; id = ids.pop()) await readTask(world, id);
    }),
  );
}

async function readTask(world: World, id: string): Promise<void> {
  const { history } = world;
  const answer = await world.callUntilAnswered({ method: "GET", path: `/tasks/${id}` });
  world.see(answer);
  const task = taskSchema.safeParse(answer?.json);
  if (answer?.status !== 200 || !task.success) return;
  history.tasks.set(id, task.data);
  // The stream of a task that has not ended would not end either.
  if (task.data.finishedAt !== null) await follow(world, id, history.streams);
}
