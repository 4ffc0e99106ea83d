/** The objects that run tasks of the long lane, as the ledger reaches them. */
import { errorFields, log } from "../../kernel/log.ts";
import { retry } from "../../kernel/retry.ts";
import type { Claim } from "./claim.ts";

/** A runner is new: what keeps it from being reached is not that it restarts. */
const PAUSES_MS = [50, 500];

export class Runners {
  readonly #env: Env;
  /** The tasks whose latest claim has been opened by its runner, while that is of interest. */
  readonly #opened = new Set<string>();

  constructor(env: Env) {
    this.#env = env;
  }

  /** Gives a claim to a runner of its own; false if that cannot be reached. */
  async start(claim: Claim): Promise<boolean> {
    this.#opened.delete(claim.taskId);
    try {
      await retry(async () => this.#runnerOf(claim).start(claim), PAUSES_MS);
      return true;
    } catch (error) {
      log("warn", "no runner could be reached", { taskId: claim.taskId, ...errorFields(error) });
      // It may have been reached for all that, and only its answer was lost.
      return this.#opened.has(claim.taskId);
    }
  }

  /** Tells the code of a claim to end. If it is not there to hear it, the next heartbeat tells it. */
  async cancel(claim: Claim): Promise<void> {
    await this.#runnerOf(claim)
      .cancel()
      .catch(() => undefined);
  }

  noteOpened(taskId: string): void {
    this.#opened.add(taskId);
  }

  forget(taskId: string): void {
    this.#opened.delete(taskId);
  }

  #runnerOf({ taskId, token }: Claim) {
    return this.#env.TASK_RUNNER.getByName(`${taskId}.${token}`);
  }
}
