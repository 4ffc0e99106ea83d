/**
 * Tasks with `unique` and `debounce`, submitted by all clients under a few keys, and what must be true of them, seen from outside:
 * no two tasks of a unique key are at work at once, and a debounced task ran with the last input that was acknowledged for it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import type { Random } from "../random.ts";
import type { Finding } from "./checks.ts";
import type { DebouncedSubmission, History } from "./history.ts";
import type { World } from "./world.ts";

const UNIQUE_KEYS = 3;
const DEBOUNCE_KEYS = 2;
const PAUSE_MS = [100, 700] as const;
const AGAIN_MS = 60;

const linkSchema = z.object({ id: z.string() });
const inputSchema = z.object({ status: z.string(), input: z.object({ n: z.number() }) });

/** A client for each debounce, whose submissions have an order, and two for the unique keys, which compete for them. */
export async function runGuardedClients(world: World, randomOf: (name: string) => Random): Promise<void> {
  const debouncing = Array.from({ length: DEBOUNCE_KEYS }, async (_, n) =>
    repeat(world, randomOf(`debounce ${n}`), async (random) => debounce(world, `${n}`, random)),
  );
  const competing = [0, 1].map(async (n) =>
    repeat(world, randomOf(`unique ${n}`), async (random) => submitUnique(world, random)),
  );
  await Promise.all([...debouncing, ...competing]);
}

async function repeat(world: World, random: Random, once: (random: Random) => Promise<void>): Promise<void> {
  while (!world.isClosed) {
    await once(random);
    await sleep(random.between(...PAUSE_MS));
  }
}

async function submitUnique(world: World, random: Random): Promise<void> {
  const type = random.chance(0.5) ? "chaos_steps" : "chaos_long";
  const key = String(random.between(1, UNIQUE_KEYS));
  const policy = random.chance(0.4) ? "replace" : random.chance(0.3) ? "reject" : "keep";
  const body = {
    type,
    input: { n: 0, notBeforeMs: 0, failures: 0 },
    unique: { key, on_conflict: policy },
    ...(random.chance(0.3) ? { delay: 1 } : {}),
  };
  const id = await submit(world, body);
  if (id === undefined) return;
  const name = `${type} ${key}`;
  world.history.guarded.unique.set(name, (world.history.guarded.unique.get(name) ?? new Set()).add(id));
}

let submissions = 0;

async function debounce(world: World, key: string, random: Random): Promise<void> {
  const submission: DebouncedSubmission = { n: ++submissions };
  const { debounced } = world.history.guarded;
  debounced.set(key, [...(debounced.get(key) ?? []), submission]);
  const body = {
    type: "chaos_quick",
    input: { n: submission.n, notBeforeMs: 0, failures: 0 },
    debounce: { key, wait: random.chance(0.5) ? 0.3 : 1, max_wait: 3 },
  };
  const id = await submit(world, body);
  if (id !== undefined) submission.id = id;
}

/** The id of the task, if there was a response that has one. */
async function submit(world: World, body: object): Promise<string | undefined> {
  world.history.submissions++;
  const answering = world.call({ method: "POST", path: "/tasks", body });
  world.announce("submit");
  const answer = await answering;
  if (answer?.status !== 202) {
    await sleep(AGAIN_MS);
    return undefined;
  }
  const { id } = linkSchema.parse(answer.json);
  world.history.acknowledged.add(id);
  return id;
}

/** Reads what the debounced tasks were run with. */
export async function readGuarded(world: World): Promise<void> {
  const { debounced, ranWith } = world.history.guarded;
  const ids = new Set([...debounced.values()].flat().flatMap(({ id }) => id ?? []));
  for (const id of ids) {
    const answer = await world.callUntilAnswered({ method: "GET", path: `/tasks/${id}` });
    const { data } = inputSchema.safeParse(answer?.json);
    if (data?.status === "succeeded") ranWith.set(id, data.input.n);
  }
}

export function checkUnique({ guarded, executions }: History): Finding {
  const byTask = Map.groupBy(executions, ({ taskId }) => taskId);
  const measured = [...guarded.unique].map(([key, ids]) => ({ key, ...overlaps(ids, byTask) }));
  const of = measured.reduce((sum, { compared }) => sum + compared, 0);
  const faults = measured.flatMap(({ key, faults: those }) => those.map((fault) => `${key}: ${fault}`));
  return {
    what: "no two tasks of a unique key are at work at once",
    of,
    measured: `${faults.length} were, of ${of} executions under ${measured.length} keys`,
    faults,
  };
}

/** Each execution certainly lasts from its begin to the last report about it. */
function overlaps(ids: ReadonlySet<string>, byTask: ReadonlyMap<string, History["executions"]>) {
  const all = [...ids].flatMap((id) => byTask.get(id) ?? []).toSorted((a, b) => a.beganAtMs - b.beganAtMs);
  const faults = all.flatMap((one, i) => {
    const other = all
      .slice(0, i)
      .find(
        ({ taskId, end, heardAtMs }) => taskId !== one.taskId && (end?.atMs ?? heardAtMs) > one.beganAtMs,
      );
    return other ? [`${one.taskId} began while ${other.taskId} was at work`] : [];
  });
  return { compared: all.length, faults };
}

/** What had no response may have been the last all the same. */
export function checkDebounced({ guarded }: History): Finding {
  const all = [...guarded.debounced.values()];
  const faults = all.flatMap((list) =>
    [...new Set(list.flatMap(({ id }) => id ?? []))].flatMap((id) => {
      const ran = guarded.ranWith.get(id);
      const last = list.findLast((one) => one.id === id)?.n ?? 0;
      const mayBe = list.filter((one) => one.n >= last && (one.n === last || one.id === undefined));
      return ran === undefined || mayBe.some(({ n }) => n === ran)
        ? []
        : [`${id}: ran with ${ran}, not ${last}`];
    }),
  );
  const merged = all.flat().length - guarded.ranWith.size;
  return {
    what: "a debounced task ran with the last input that was acknowledged for it",
    of: merged > 0 ? guarded.ranWith.size : 0,
    measured: `${faults.length} did not, of ${guarded.ranWith.size} tasks for ${all.flat().length} submissions`,
    faults,
  };
}
