/** An operator who pauses task types and resumes them, and the promise about that. */
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { Random } from "../random.ts";
import type { Finding } from "./checks.ts";
import type { History, Pause, TaskEvent } from "./history.ts";
import { KINDS } from "./kinds.ts";
import type { World } from "./world.ts";

const BETWEEN_MS = [300, 2_000] as const;
const LASTS_MS = [300, 3_000] as const;

/** Until the world is closed. Each request is repeated until every shard has made the change. Leaves no type paused. */
export async function keepPausing(world: World, seed: number): Promise<void> {
  const random = new Random(seed, "operator");
  const names = KINDS.filter(({ pauses }) => pauses).map(({ name }) => name);
  while (!world.isClosed) {
    await sleep(random.between(...BETWEEN_MS));
    const type = names[random.between(0, names.length - 1)] ?? "";
    const answer = await setPaused(world, type, true);
    if (answer?.status !== 200) continue;
    const pause: Pause = { type, fromMs: answer.answeredAtMs, untilMs: Infinity };
    world.history.pauses.push(pause);
    await sleep(random.between(...LASTS_MS));
    pause.untilMs = Date.now();
    await setPaused(world, type, null);
  }
}

const setPaused = async (world: World, type: string, paused: true | null) =>
  world.callUntilAnswered({ method: "PATCH", path: `/task-types/${type}`, body: { paused } });

const dataSchema = z.object({ at: z.string(), status: z.string(), reason: z.string().optional() });

/** When a task began a run, and since when it had been queued for that; not when it only went on. */
export function beginsIn(events: readonly TaskEvent[]): { atMs: number; queuedAtMs: number }[] {
  const statuses = events.flatMap(({ event, data }) =>
    event === "status" ? [dataSchema.parse(JSON.parse(data))] : [],
  );
  return statuses.flatMap(({ at, status }, i) => {
    const before = statuses[i - 1];
    if (status !== "running" || before?.reason === "handed-over") return [];
    return [{ atMs: Date.parse(at), queuedAtMs: Date.parse(before?.at ?? at) }];
  });
}

export function checkPauses(history: History): Finding {
  const spoilt = new Set(history.spoilt.map(({ taskId }) => taskId));
  let waited = 0;
  const faults = history.streams.flatMap(({ taskId, events }) => {
    const type = history.tasks.get(taskId)?.type;
    const pauses = history.pauses.filter((pause) => pause.type === type);
    if (pauses.length === 0 || spoilt.has(taskId)) return [];
    return beginsIn(events).flatMap(({ atMs, queuedAtMs }) => {
      if (pauses.some(({ fromMs, untilMs }) => queuedAtMs >= fromMs && queuedAtMs < untilMs)) waited++;
      const broken = pauses.find(({ fromMs, untilMs }) => atMs > fromMs && atMs < untilMs);
      return broken ? [`${taskId} ${type}: begins ${atMs - broken.fromMs} ms after its type was paused`] : [];
    });
  });
  return {
    what: "nothing of a paused type begins, and what has waited runs after the resume",
    of: Math.min(history.pauses.length, waited),
    measured: `${faults.length} did, in ${history.pauses.length} pauses; ${waited} runs waited for their end`,
    faults,
  };
}
