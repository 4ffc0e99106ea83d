/**
 * The registered task types. Whoever defines a type registers it here while the Worker starts, because this pillar
 * cannot import the code of any task.
 */
import { CALLBACK_TYPE, type TaskType } from "./define.ts";

const registered = new Map<string, TaskType>();
/** The types that have names of their own in metrics: so many, those that were registered first. */
const labelled = new Set<string>();
const MAX_LABELS = 100;

/** Where a type is added to the list, for messages about one that is missing. */
const LIST = "src/jobs/task-types.ts";

/** Adds types. Throws if a name is already taken. */
export function registerTaskTypes(types: readonly TaskType[]): void {
  for (const type of types) {
    if (type.name === CALLBACK_TYPE && (type.concurrency !== undefined || type.rate))
      throw new TypeError(
        "The callback type cannot have a concurrency or a rate: each callback is on the shard of its own task.",
      );
    if (registered.has(type.name)) throw new TypeError(`There are two task types "${type.name}".`);
    registered.set(type.name, type);
    if (labelled.size < MAX_LABELS) labelled.add(type.name);
  }
}

export function findTaskType(name: string): TaskType | undefined {
  return registered.get(name);
}

export const typeNames = (): Iterable<string> => registered.keys();

export const typeLabels = (): string[] => [...labelled];

/** A type's name as a label of metrics. What is no longer registered, or too much, has one in common. */
export const typeLabel = (name: string): string => (labelled.has(name) ? name : "other");

/** The `TypeError` for a type that is not registered: nothing would run its tasks. It says where to add the type. */
export const unregisteredTypeError = (name: string) =>
  new TypeError(`The task type "${name}" is not registered: add it to the list TASK_TYPES in ${LIST}.`);

/** The types that callers may submit, sorted by name. Only the ledger itself starts callbacks. */
export function openTaskTypes(): TaskType[] {
  const types = [...registered.values()].filter(({ name }) => name !== CALLBACK_TYPE);
  return types.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** The type of this name that a caller may submit, if there is one. */
export function findOpenTaskType(name: string): TaskType | undefined {
  return name === CALLBACK_TYPE ? undefined : registered.get(name);
}
