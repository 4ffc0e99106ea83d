/**
 * Two workerd processes with the same Worker: `home` has the semaphore, `away` calls it over the network.
 *
 * So a holder of permits can be killed or frozen while the semaphore keeps running.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { findFreePort, startAway, startHome } from "../../../bench/support/gateway.ts";
import type { Workerd } from "../../../bench/support/workerd.ts";

export interface FleetOptions {
  vars: Record<string, unknown>;
  /** Called with each line that the process with the semaphore logs. */
  onHomeLine: (line: string) => void;
  onAwayLine: (line: string) => void;
}

export class Fleet implements AsyncDisposable {
  readonly #startAway: () => Promise<Workerd>;
  readonly #home: Workerd;
  #away: Workerd;

  private constructor(home: Workerd, away: Workerd, restart: () => Promise<Workerd>) {
    this.#home = home;
    this.#away = away;
    this.#startAway = restart;
  }

  static async start({ vars, onHomeLine, onAwayLine }: FleetOptions): Promise<Fleet> {
    const source = readFileSync(join(import.meta.dirname, "worker.ts"), "utf8");
    const gate = `127.0.0.1:${await findFreePort()}`;
    const away = async () => startAway({ vars, source, onLine: onAwayLine }, gate);
    await using starting = new AsyncDisposableStack();
    const home = starting.use(await startHome({ vars, source, onLine: onHomeLine }, gate));
    const fleet = new Fleet(home, await away(), away);
    starting.move();
    return fleet;
  }

  get homeUrl(): string {
    return this.#home.url;
  }

  get awayUrl(): string {
    return this.#away.url;
  }

  /** Aborts the semaphore: its memory is lost, and its callers' stubs break. */
  async crashSemaphore(name: string): Promise<void> {
    await fetch(`${this.#home.url}/~crash/${encodeURIComponent(name)}`);
  }

  /** SIGKILL: the process cannot clean up. */
  async killAway(): Promise<void> {
    await this.#away.stop("SIGKILL");
  }

  async restartAway(): Promise<void> {
    this.#away = await this.#startAway();
  }

  freezeAway(): void {
    process.kill(this.#away.pid, "SIGSTOP");
  }

  thawAway(): void {
    process.kill(this.#away.pid, "SIGCONT");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#away.stop("SIGKILL"), this.#home.stop()]);
  }
}
