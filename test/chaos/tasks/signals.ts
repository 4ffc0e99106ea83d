/**
 * Signals: a client sends each until it is acknowledged, some again after that, and the task must receive each exactly
 * once, in the order in which they were sent.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import type { Random } from "../random.ts";
import type { Finding } from "./checks.ts";
import type { History } from "./history.ts";
import type { World } from "./world.ts";

const PAUSE_MS = [0, 1_200] as const;
const AGAIN_MS = 80;
const REPEAT_SHARE = 0.35;

/** Sends so many signals to a task. It stops when the task has ended: it was cancelled, say. */
export async function sendSignals(world: World, id: string, count: number, random: Random): Promise<void> {
  const sent: string[] = [];
  world.history.signals.set(id, sent);
  for (let number = 1; number <= count; number++) {
    await sleep(random.between(...PAUSE_MS));
    const payload = randomUUID();
    if (!(await sendOne(world, id, payload, random))) return;
    sent.push(payload);
  }
}

/** Whether it was acknowledged. */
async function sendOne(world: World, id: string, payload: string, random: Random): Promise<boolean> {
  const headers = { "Idempotency-Key": `"${payload}"` };
  for (let isAcknowledged = false; !world.isOver; await sleep(AGAIN_MS)) {
    const call = { method: "POST", path: `/tasks/${id}/signals/s`, headers, body: payload };
    const answering = world.call(call);
    world.announce("signal");
    const answer = await answering;
    if (answer?.status === 202) isAcknowledged = true;
    if (answer && answer.status >= 400 && answer.status < 500) return isAcknowledged;
    if (isAcknowledged && !random.chance(REPEAT_SHARE)) return true;
  }
  return false;
}

const resultSchema = z.object({ received: z.array(z.string()) });

export function checkSignals(history: History): Finding {
  const spoilt = new Set(history.spoilt.map(({ taskId }) => taskId));
  let received = 0;
  const faults = [...history.signals].flatMap(([id, sent]) => {
    const task = history.tasks.get(id);
    if (!task || spoilt.has(id)) return [];
    if (task.status !== "succeeded") return [];
    const result = resultSchema.safeParse(task.result);
    if (!result.success) return [`${id}: its result is ${JSON.stringify(task.result)}`];
    received += sent.length;
    const isSame = JSON.stringify(result.data.received) === JSON.stringify(sent);
    return isSame ? [] : [`${id}: sent ${sent.join(" ")}, received ${result.data.received.join(" ")}`];
  });
  const acknowledged = [...history.signals.values()].flat().length;
  return {
    what: "each signal is received exactly once, in order",
    of: received,
    measured: `${faults.length} tasks with faults; ${received} received, of ${acknowledged} acknowledged; the others went to tasks that were cancelled, removed or corrupted`,
    faults,
  };
}
