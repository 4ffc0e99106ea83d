/** The tasks of a caller that is bound to task types: others are as if they did not exist. */
import type { Context } from "hono";
import type { AppEnv } from "../../kernel/app-env.ts";
import { type Bounds, isTypeWithin } from "../../kernel/bounds.ts";
import { Problem } from "../../kernel/problem.ts";
import type { Task } from "../ledger/schema.ts";
import { callLedger, ledgerOf } from "../ledger/shards.ts";
import type { NamedType } from "../types/availability.ts";
import { orNotFound } from "./responses.ts";

/** Throws a `Problem` 404 for a task of another type. A task keeps its type, so that stays true. Without bounds, costs nothing. */
export async function checkTaskBounds(c: Context<AppEnv>, id: string): Promise<void> {
  const { bounds } = c.get("principal");
  if (!bounds) return;
  const row = await callLedger(async () => ledgerOf(c.env, id)?.getTask(id));
  orNotFound(row && isTypeWithin(bounds, row.type) ? row : undefined, id);
}

/** Throws a `Problem` 403 if the caller may not start one of these types. */
export function checkTypeBounds(bounds: Bounds | undefined, types: readonly NamedType[]): void {
  const beyond = types.find(({ type }) => !isTypeWithin(bounds, type.name));
  if (beyond)
    throw new Problem(
      "forbidden",
      `This token may not start tasks of the type "${beyond.type.name}", which ${beyond.at} names.`,
    );
}

/** A task without the ids of others, whose types a bound caller may not know. */
export function showTaskTo<T extends Pick<Task, "followUps"> & Partial<Task>>(
  bounds: Bounds | undefined,
  task: T,
): T {
  if (!bounds) return task;
  const shown: T = { ...task, followUps: [] };
  const part: Partial<Task> = shown;
  delete part.parent;
  delete part.scheduleId;
  if (part.children) part.children = part.children.filter(({ type }) => isTypeWithin(bounds, type));
  if (part.waitingFor) part.waitingFor = part.waitingFor.filter((one) => "signal" in one);
  return shown;
}
