/**
 * The clients. Each submits one thing after another, in every possible way, records the responses, and does something
 * with some of its tasks: waits for them, follows, cancels, retries or deletes them.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { Random } from "../random.ts";
import { follow } from "./follow.ts";
import { DEAD, type Input, KINDS, type Kind, kindOf } from "./kinds.ts";
import { sendSignals } from "./signals.ts";
import { steer } from "./steer.ts";
import type { Answer, World } from "./world.ts";

const CLIENTS = 6;
const PAUSE_MS = [150, 900] as const;
/** The share of submissions with a key that are repeated although they had a response. */
const REPEAT_SHARE = 0.35;
const AGAIN_MS = 80;
/** For dead letters. */
const RETRY_EVERY_MS = 12_000;

export interface Order {
  type: string;
  input: Input;
  delay?: number;
  run_at?: string;
  priority?: number;
}

const linkSchema = z.object({ id: z.string() });
const batchSchema = z.object({ tasks: z.array(z.union([linkSchema, z.object({ error: z.unknown() })])) });

/** Resolves when the world is closed and the clients have finished what they began. */
export async function runClients(world: World, seed: number): Promise<void> {
  await Promise.all(
    Array.from({ length: CLIENTS }, (_, n) => runClient(world, new Random(seed, `client ${n}`))),
  );
}

async function runClient(world: World, random: Random): Promise<void> {
  const asides: Promise<void>[] = [];
  while (!world.isClosed) {
    const ids = await submitSomething(world, random);
    for (const id of ids) {
      if (random.chance(0.12)) asides.push(follow(world, id, world.history.followed));
      const own = new Random(random.between(0, 1e9), "steer");
      asides.push(steer(world, id, own));
      const type = world.history.types.get(id) ?? "";
      asides.push(signal(world, id, type, new Random(random.between(0, 1e9), "signal")));
    }
    await sleep(random.between(...PAUSE_MS));
  }
  await Promise.all(asides);
}

/** Sends a task of a type what it waits for. */
export async function signal(world: World, id: string, type: string, random: Random): Promise<void> {
  const { signals } = kindOf(type) ?? {};
  if (signals !== undefined && !world.history.signals.has(id)) await sendSignals(world, id, signals, random);
}

/** Returns the acknowledged ids. */
async function submitSomething(world: World, random: Random): Promise<string[]> {
  const way = random.next();
  if (way < 0.2) return submit(world, makeOrder(random));
  if (way < 0.4) return submitCrowd(world, random);
  if (way < 0.68) return submitUnderKey(world, random);
  if (way < 0.85)
    return submit(
      world,
      Array.from({ length: random.between(2, 8) }, () => makeOrder(random)),
    );
  return submit(world, makeOrder(random), { Prefer: `wait=${random.between(1, 4)}` });
}

/** As many clients at once, whose tasks travel together. */
async function submitCrowd(world: World, random: Random): Promise<string[]> {
  const orders = Array.from({ length: random.between(3, 8) }, () => makeOrder(random));
  return (await Promise.all(orders.map(async (order) => submit(world, order)))).flat();
}

/** Submits once. Without a response, it is unknown whether the task exists. */
export async function submit(
  world: World,
  body: Order | Order[],
  headers: Record<string, string> = {},
): Promise<string[]> {
  world.history.submissions++;
  const answering = world.call({ method: "POST", path: "/tasks", headers, body });
  world.announce("submit");
  return acknowledge(world, body, await answering);
}

/** Repeats the same request until it has a response, and sometimes even then. */
async function submitUnderKey(world: World, random: Random): Promise<string[]> {
  const key = randomUUID();
  const body = random.chance(0.2)
    ? Array.from({ length: random.between(2, 4) }, () => makeOrder(random))
    : makeOrder(random);
  const received: string[] = [];
  world.history.submissions++;
  world.history.keys.set(key, received);
  for (let isAgain = true; isAgain && !world.isOver; ) {
    const headers = { "Idempotency-Key": `"${key}"` };
    const answering = world.call({ method: "POST", path: "/tasks", headers, body });
    world.announce("submit");
    const answer = await answering;
    const ids = acknowledge(world, body, answer);
    if (ids.length > 0) received.push(ids.join(" "));
    isAgain = ids.length === 0 || random.chance(REPEAT_SHARE);
    if (isAgain) await sleep(AGAIN_MS);
  }
  return received[0]?.split(" ") ?? [];
}

/** Records what the response promises. */
function acknowledge(world: World, body: Order | Order[], answer: Answer | undefined): string[] {
  if (!answer || (answer.status !== 202 && answer.status !== 200)) return [];
  world.see(answer);
  const batch = batchSchema.safeParse(answer.json);
  const links = batch.success ? batch.data.tasks : [linkSchema.parse(answer.json)];
  const orders = [body].flat();
  return links.flatMap((link, i) => {
    if (!("id" in link)) return [];
    world.history.acknowledged.add(link.id);
    world.history.types.set(link.id, orders[i]?.type ?? "");
    return [link.id];
  });
}

let orders = 0;

export function makeOrder(random: Random, kind: Kind = chooseKind(random)): Order {
  const failures = random.chance(0.15) ? random.between(1, kind.retries + 1) : 0;
  const order = { type: kind.name, input: { n: ++orders, notBeforeMs: 0, failures } };
  const priority = random.chance(0.3) ? { priority: random.between(0, 9) } : {};
  if (!random.chance(0.15)) return { ...order, ...priority };
  const delay = random.between(1, 6);
  const notBeforeMs = Date.now() + delay * 1000;
  const when = random.chance(0.5) ? { delay } : { run_at: new Date(notBeforeMs).toISOString() };
  return { ...order, ...priority, ...when, input: { ...order.input, notBeforeMs } };
}

function chooseKind(random: Random): Kind {
  let left = random.next();
  const kind = KINDS.find(({ share }) => {
    left -= share;
    return left < 0;
  });
  const [first] = KINDS;
  if (kind) return kind;
  if (!first) throw new Error("There are no kinds.");
  return first;
}

/** Retries all dead letters of a type from time to time, until the world is closed. */
export async function retryTheDead(world: World): Promise<void> {
  while (!world.isClosed) {
    await sleep(RETRY_EVERY_MS);
    if (world.isClosed) return;
    const sentAtMs = Date.now();
    const steering = { of: DEAD, sentAtMs, answeredAtMs: Infinity, httpStatus: 0 };
    world.history.retries.push(steering);
    const answer = await world.call({ method: "POST", path: "/tasks/retry", body: { type: DEAD } });
    steering.httpStatus = answer?.status ?? 0;
    if (answer) steering.answeredAtMs = answer.answeredAtMs;
  }
}
