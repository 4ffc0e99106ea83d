/**
 * Sluice with its bucket and its Durable Objects on disk, which is killed and restarted on the same storage.
 *
 * A kill is a SIGKILL of workerd, which runs everything: the Worker, its objects, and the simulated R2. Its memory is
 * gone and its connections are reset; what it had written is available again, on the same port.
 */
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Json } from "miniflare";
import { type RunningMiniflare, startMiniflare } from "../../../bench/support/miniflare.ts";
import { makeTemporaryFolder } from "../../../bench/support/process.ts";

const VARS = { ACCESS: "local", DATA_UPSTREAM: "demo" };
const TRY_AGAIN_MS = 5;
/** The system may keep the port of a killed process for a while. */
const START_TRIES = 5;

export interface ServerOptions {
  /** The built Worker. Default: the one of `npm run build`. */
  main?: string | undefined;
  /** Variables besides VARS. */
  vars?: Record<string, Json>;
  /** Each kill resets the storage to its state at the first kill. */
  isForgetful: boolean;
  onLine: (line: string) => void;
}

export interface Kill {
  atMs: number;
  /** Until /healthz responds again. */
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

  /** The same after every restart. */
  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** What is on disk; only to be read while the server is stopped. */
  get storage(): string {
    return join(this.#folder.path, "storage");
  }

  async start(): Promise<void> {
    for (let tries = 1; this.#running === undefined; tries++) {
      try {
        this.#running = await startMiniflare(
          { ...VARS, ...this.#options.vars },
          {
            main: this.#options.main,
            port: this.#port,
            storageDir: this.storage,
            onLog: ({ message }) => this.#options.onLine(message),
          },
        );
      } catch (error) {
        if (tries === START_TRIES) throw error;
        await sleep(100);
      }
    }
    this.#port = Number(new URL(this.#running.url).port);
    while (!(await this.#responds())) await sleep(TRY_AGAIN_MS);
  }

  /** Kills the server at once and starts it again. */
  async kill(): Promise<void> {
    const startedMs = performance.now();
    const atMs = performance.now();
    await this.stop();
    if (this.#options.isForgetful) this.#forget();
    await this.start();
    this.kills.push({ atMs, downMs: performance.now() - startedMs });
  }

  /** Ends it in the same way as `kill`. */
  async stop(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    if (running?.pid !== undefined) process.kill(running.pid, "SIGKILL");
    await running?.[Symbol.asyncDispose]();
  }

  async bucket() {
    if (!this.#running) throw new Error("The server is not running.");
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

  async #responds(): Promise<boolean> {
    try {
      const response = await fetch(`${this.url}/healthz`);
      await response.body?.cancel();
      return response.ok;
    } catch {
      return false;
    }
  }
}
