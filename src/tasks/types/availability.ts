/** Whether a type can run here: it may need a binding or a secret that this deployment lacks. */
import { Problem } from "../../kernel/problem.ts";
import type { TaskType } from "./define.ts";

/** A type that a request names, and where. */
export interface NamedType {
  type: TaskType;
  at: string;
}

/** Throws a `Problem` 503 that says of each type what it lacks, if one of them cannot run here. */
export function checkAvailable(env: Env, named: readonly NamedType[]): void {
  const errors = named.flatMap(({ type, at }) => {
    const reason = type.unavailable?.(env);
    return reason === undefined
      ? []
      : [{ at, detail: `The task type "${type.name}" cannot run here. ${reason}` }];
  });
  const [first] = errors;
  if (first) throw new Problem("task-type-unavailable", first.detail, { errors });
}
