/** What a client does with its tasks. Each request is recorded before it is sent: it may work without a response. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "../random.ts";
import { isTerminal, type Steering } from "./history.ts";
import { DEAD, kindOf } from "./kinds.ts";
import { sendMoreSignals } from "./signals.ts";
import type { World } from "./world.ts";

const CANCEL_SHARE = 0.12;
const RETRY_SHARE = 0.25;
const DELETE_SHARE = 0.06;
const WAIT_SHARE = 0.25;
const POLL_MS = 700;
const MAX_POLLS = 60;

export async function steer(world: World, id: string, random: Random): Promise<void> {
  const { history } = world;
  if (random.chance(CANCEL_SHARE)) {
    await sleep(random.between(0, random.chance(0.5) ? 30 : 1_500));
    const first = await getTask(world, id);
    // Dead letters are retried all at once, which would hide the effect of a cancel.
    if (!first || first.type === DEAD) return;
    const answering = act(world, history.cancels, id, `/tasks/${id}/cancel`);
    world.announce("cancel");
    await answering;
    if (random.chance(RETRY_SHARE)) await retryWhenEnded(world, id, random);
    return;
  }
  if (!random.chance(WAIT_SHARE)) return;
  const task = await untilEnded(world, id, random);
  if (!task || !isTerminal(task.status)) return;
  if (random.chance(DELETE_SHARE / WAIT_SHARE)) await remove(world, id);
  else if (task.status === "failed" && random.chance(RETRY_SHARE)) await retryWhenEnded(world, id, random);
}

async function getTask(world: World, id: string) {
  return world.see(await world.callUntilAnswered({ method: "GET", path: `/tasks/${id}` }));
}

async function untilEnded(world: World, id: string, random: Random) {
  for (let polls = 0; polls < MAX_POLLS && !world.isClosed; polls++) {
    const task = await getTask(world, id);
    if (!task || isTerminal(task.status)) return task;
    await sleep(random.between(POLL_MS / 2, POLL_MS * 2));
  }
  return undefined;
}

async function retryWhenEnded(world: World, id: string, random: Random): Promise<void> {
  const task = await untilEnded(world, id, random);
  if (!task || kindOf(task.type)?.name === DEAD) return;
  if (task.status !== "failed" && task.status !== "cancelled") return;
  await act(world, world.history.retries, id, `/tasks/${id}/retry`);
  await sendMoreSignals(world, id, random);
}

/** Repeats the request until there is a response, which shows the effect of the first one. */
async function act(world: World, noted: Steering[], id: string, path: string): Promise<void> {
  while (!world.isOver) {
    const steering: Steering = { of: id, sentAtMs: Date.now(), answeredAtMs: Infinity, httpStatus: 0 };
    noted.push(steering);
    const answer = await world.call({ method: "POST", path });
    steering.httpStatus = answer?.status ?? 0;
    if (!answer) {
      await sleep(60);
      continue;
    }
    steering.answeredAtMs = answer.answeredAtMs;
    const task = world.see(answer);
    if (task) steering.became = task.status;
    if (answer.status < 500) return;
  }
}

async function remove(world: World, id: string): Promise<void> {
  const steering: Steering = { of: id, sentAtMs: Date.now(), answeredAtMs: Infinity, httpStatus: 0 };
  world.history.deletions.push(steering);
  const answer = await world.callUntilAnswered({ method: "DELETE", path: `/tasks/${id}` });
  steering.httpStatus = answer?.status ?? 0;
  if (answer) steering.answeredAtMs = answer.answeredAtMs;
}
