/**
 * Sluice with its bucket and its Durable Objects on disk, that is killed and started again as the same one.
 *
 * A kill is a SIGKILL of workerd, in which all of it runs: the Worker, its objects, the simulated R2. What it had in
 * memory is gone, its connections are reset; what it had written is there again, on the same port.
 */
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type RunningMiniflare, startMiniflare } from "../../../bench/support/miniflare.ts";
import { makeTemporaryFolder } from "../../../bench/support/process.ts";

const VARS = { ACCESS: "local", DATA_UPSTREAM: "demo" };
const TRY_AGAIN_MS = 5;
/** How long the system may hold on to the port of a process that is gone. */
const START_TRIES = 5;

export interface ServerOptions {
  /** What it keeps is at each kill put back to what it was at the first. */
  isForgetful: boolean;
  onLine: (line: string) => void;
}

export interface Kill {
  atMs: number;
  /** Until /healthz has answered again. */
  downMs: number;
}

export class Server implements AsyncDisposable {
  readonly kills: Kill[] = [];
  readonly #options: ServerOptions;
  readonly #folder = makeTemporaryFolder();
  #running: RunningMiniflare | undefined;
  #port = 0;

  constructor(options: ServerOptions) {
    this.#options = options;
  }

  /** The same in every life. */
  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** What is on disk. To be looked at when it is stopped. */
  get storage(): string {
    return join(this.#folder.path, "storage");
  }

  async start(): Promise<void> {
    for (let tries = 1; this.#running === undefined; tries++) {
      try {
        this.#running = await startMiniflare(VARS, {
          port: this.#port,
          storageDir: this.storage,
          onLog: ({ message }) => this.#options.onLine(message),
        });
      } catch (error) {
        if (tries === START_TRIES) throw error;
        await sleep(100);
      }
    }
    this.#port = Number(new URL(this.#running.url).port);
    while (!(await this.#answers())) await sleep(TRY_AGAIN_MS);
  }

  /** Kills it at once, and starts it again. */
  async kill(): Promise<void> {
    const startedMs = performance.now();
    const atMs = performance.now();
    await this.stop();
    if (this.#options.isForgetful) this.#forget();
    await this.start();
    this.kills.push({ atMs, downMs: performance.now() - startedMs });
  }

  /** Ends it in no other way than `kill` does. */
  async stop(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    if (running?.pid !== undefined) process.kill(running.pid, "SIGKILL");
    await running?.[Symbol.asyncDispose]();
  }

  async bucket() {
    if (!this.#running) throw new Error("It does not run.");
    return this.#running.miniflare.getR2Bucket("FILES");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    this.#folder.remove();
  }

  #forget(): void {
    const before = join(this.#folder.path, "before");
    if (this.kills.length > 0) {
      rmSync(this.storage, { recursive: true });
      cpSync(before, this.storage, { recursive: true });
    } else {
      cpSync(this.storage, before, { recursive: true });
    }
  }

  async #answers(): Promise<boolean> {
    try {
      const response = await fetch(`${this.url}/healthz`);
      await response.body?.cancel();
      return response.ok;
    } catch {
      return false;
    }
  }
}
