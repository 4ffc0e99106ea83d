/**
 * Signals: a client sends each until it is acknowledged, some again after that, and the task must receive each exactly
 * once, in the order in which they were sent.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import type { Random } from "../random.ts";
import type { Finding } from "./checks.ts";
import type { History, SentSignal } from "./history.ts";
import type { World } from "./world.ts";

const PAUSE_MS = [0, 1_200] as const;
const AGAIN_MS = 80;
const REPEAT_SHARE = 0.35;

/** By task: what its first sender is doing. Two at once would have no order. */
const senders = new Map<string, Promise<void>>();

/** Sends so many signals to a task. It stops when the task has ended: it was cancelled, say. */
export async function sendSignals(world: World, id: string, count: number, random: Random): Promise<void> {
  const sender = sendFirst(world, id, count, random);
  senders.set(id, sender);
  await sender;
}

async function sendFirst(world: World, id: string, count: number, random: Random): Promise<void> {
  const sent: SentSignal[] = [];
  world.history.signals.set(id, sent);
  for (let number = 1; number <= count; number++) {
    await sleep(random.between(...PAUSE_MS));
    if (!(await sendOne(world, id, sent, random))) return;
  }
}

/**
 * A task was retried, which keeps what it has received: sends it more until it has ended. How many it still waits for is
 * not known, since a signal without a response may have been received.
 */
export async function sendMoreSignals(world: World, id: string, random: Random): Promise<void> {
  await senders.get(id);
  const sent = world.history.signals.get(id);
  if (!sent) return;
  for (let isAlive = true; isAlive && !world.isOver; ) {
    await sleep(random.between(...PAUSE_MS));
    isAlive = await sendOne(world, id, sent, random);
  }
}

/** Whether it was acknowledged. */
async function sendOne(world: World, id: string, sent: SentSignal[], random: Random): Promise<boolean> {
  const signal: SentSignal = { payload: randomUUID(), isAcknowledged: false };
  sent.push(signal);
  const headers = { "Idempotency-Key": `"${signal.payload}"` };
  for (; !world.isOver; await sleep(AGAIN_MS)) {
    const call = { method: "POST", path: `/tasks/${id}/signals/s`, headers, body: signal.payload };
    const answering = world.call(call);
    world.announce("signal");
    const answer = await answering;
    if (answer?.status === 202) signal.isAcknowledged = true;
    if (answer && answer.status >= 400 && answer.status < 500) return signal.isAcknowledged;
    if (signal.isAcknowledged && !random.chance(REPEAT_SHARE)) return true;
  }
  return false;
}

const resultSchema = z.object({ received: z.array(z.string()) });

export function checkSignals(history: History): Finding {
  const spoilt = new Set(history.spoilt.map(({ taskId }) => taskId));
  const retried = new Set(history.retries.map(({ of }) => of));
  let received = 0;
  const faults = [...history.signals].flatMap(([id, sent]) => {
    const task = history.tasks.get(id);
    if (task?.status !== "succeeded" || spoilt.has(id)) return [];
    const result = resultSchema.safeParse(task.result);
    if (!result.success) return [`${id}: its result is ${JSON.stringify(task.result)}`];
    const got = result.data.received;
    received += got.length;
    // One that was sent as a task ended may be received when it is retried, and there may be more than it waits for.
    const among = sent.filter((signal) =>
      retried.has(id) ? got.includes(signal.payload) : signal.isAcknowledged,
    );
    const expected = among.map(({ payload }) => payload).join(" ");
    return got.join(" ") === expected ? [] : [`${id}: sent ${expected}, received ${got.join(" ")}`];
  });
  const acknowledged = [...history.signals.values()].flat().filter((signal) => signal.isAcknowledged).length;
  return {
    what: "each signal is received exactly once, in order",
    of: received,
    measured: `${faults.length} tasks with faults; ${received} received, of ${acknowledged} acknowledged; the others went to tasks that were cancelled, removed or corrupted`,
    faults,
  };
}
