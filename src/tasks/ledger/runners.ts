/** How the ledger reaches the objects that run tasks in the long lane. */
import { errorFields, log } from "../../kernel/log.ts";
import { callObject, objectNamed } from "../../kernel/objects.ts";
import type { Claim } from "./claim.ts";
import { regionOf, shardOf } from "./task-id.ts";

/** Short: a runner is a new object, so if it cannot be reached, the cause is not a restart that will end soon. */
const PAUSES_MS = [50, 500];

export class Runners {
  readonly #env: Env;
  /** The running tasks whose latest claim was opened by its runner. */
  readonly #opened = new Set<string>();

  constructor(env: Env) {
    this.#env = env;
  }

  /** Gives a claim to a new runner. Returns false if that runner cannot be reached. */
  async start(claim: Claim): Promise<boolean> {
    this.#opened.delete(claim.taskId);
    try {
      await callObject(async () => this.#runnerOf(claim).start(claim), { pausesMs: PAUSES_MS });
      return true;
    } catch (error) {
      log("warn", "no runner could be reached", { taskId: claim.taskId, ...errorFields(error) });
      // The call may have arrived even so, and only its reply was lost.
      return this.#opened.has(claim.taskId);
    }
  }

  /** Tells the code of a claim to stop. If this call does not arrive, the next heartbeat brings the same message. */
  async cancel(claim: Claim): Promise<void> {
    await this.#runnerOf(claim)
      .cancel()
      .catch(() => undefined);
  }

  /**
   * Stops the code of a claim that has ended, if it is at work. Returns whether it is certain that none is. A runner stops
   * its code by aborting itself, which breaks the call; the next call then finds nothing at work.
   */
  async stop(claim: Claim): Promise<boolean> {
    try {
      await callObject(async () => this.#runnerOf(claim).stop(), { pausesMs: PAUSES_MS });
      return true;
    } catch (error) {
      log("warn", "a runner could not be stopped", { taskId: claim.taskId, ...errorFields(error) });
      return false;
    }
  }

  noteOpened(taskId: string): void {
    this.#opened.add(taskId);
  }

  forget(taskId: string): void {
    this.#opened.delete(taskId);
  }

  #runnerOf({ taskId, token }: Claim) {
    // Beside its ledger, which it calls all the time.
    const hint = regionOf(shardOf(taskId) ?? "");
    return objectNamed(this.#env, "TASK_RUNNER", `${taskId}.${token}`, { hint });
  }
}
