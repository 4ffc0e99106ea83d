/**
 * The task types that there are. Whoever defines them registers them here while the Worker starts, since the pillar
 * that runs tasks cannot import the code of any.
 */
import { CALLBACK_TYPE, type TaskType } from "./define.ts";

const registered = new Map<string, TaskType>();

/** Adds types. Throws if a name is taken. */
export function registerTaskTypes(types: readonly TaskType[]): void {
  for (const type of types) {
    if (type.name === CALLBACK_TYPE && type.concurrency !== undefined)
      throw new TypeError("Callbacks have no cap: each is on the shard of the task that it tells of.");
    if (registered.has(type.name)) throw new TypeError(`There are two task types "${type.name}".`);
    registered.set(type.name, type);
  }
}

export function findTaskType(name: string): TaskType | undefined {
  return registered.get(name);
}

/** Those that callers may submit, in the order of their names: a callback is for the ledger alone to start. */
export function openTaskTypes(): TaskType[] {
  const types = [...registered.values()].filter(({ name }) => name !== CALLBACK_TYPE);
  return types.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** The type that a caller names, if there is one. */
export function findOpenTaskType(name: string): TaskType | undefined {
  return name === CALLBACK_TYPE ? undefined : registered.get(name);
}
