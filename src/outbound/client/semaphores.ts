/** Calls to semaphores, and the problem that is returned when one does not respond. */
import { errorFields, log } from "../../kernel/log.ts";
import { callObject } from "../../kernel/objects.ts";
import { Problem } from "../../kernel/problem.ts";
import type { Upstream } from "../upstreams.ts";

/** Makes a call that may be repeated, on a caller's behalf. Throws a `Problem` 503 if the semaphore does not respond. */
export async function callSemaphore<T>({ name }: Upstream, call: () => Promise<T>): Promise<T> {
  try {
    return await callObject(call);
  } catch (error) {
    if (error instanceof Problem) throw error;
    log("error", "semaphore unavailable", { upstream: name, ...errorFields(error) });
    throw noResponse({ name });
  }
}

export const noResponse = ({ name }: Pick<Upstream, "name">) =>
  semaphoreUnavailable(`The semaphore of "${name}" does not respond.`);

export const semaphoreUnavailable = (detail: string) =>
  new Problem("semaphore-unavailable", detail, { headers: { "Retry-After": "5" } });
