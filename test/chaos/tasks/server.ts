/**
 * Sluice with the task types of the chaos on plain workerd, with its Durable Objects on disk. It stops and starts
 * again with the same port and storage, and records its lives.
 */
import { execFile } from "node:child_process";
import { globSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { makeTemporaryFolder } from "../../../bench/support/process.ts";
import { ROOT, startWorkerd, type Workerd } from "../../../bench/support/workerd.ts";
import type { Life } from "./history.ts";

/** The system may keep the port of a dead process for a moment. */
const START_TRIES = 5;

export interface ServerOptions {
  witness: string;
  lives: Life[];
  /** Whether the Worker breaks its promises (worker.ts). */
  isSabotaged: boolean;
  onLine: (line: string) => void;
}

export class Server implements AsyncDisposable {
  readonly #options: ServerOptions;
  readonly #folder = makeTemporaryFolder();
  #running: Workerd | undefined;
  #port = 0;

  constructor(options: ServerOptions) {
    this.#options = options;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get isUp(): boolean {
    return this.#running !== undefined;
  }

  /** The SQLite files of the ledger's shards. Open them only while the server is stopped. */
  get ledgers(): string[] {
    return globSync(join(this.#folder.path, "storage/sluice-TaskLedger/*.sqlite")).filter(
      (path) => !path.endsWith("metadata.sqlite"),
    );
  }

  async build(): Promise<void> {
    const wrangler = join(ROOT, "node_modules/.bin/wrangler");
    const entry = join(import.meta.dirname, "worker.ts");
    const args = ["deploy", "--dry-run", "--outdir", join(this.#folder.path, "dist"), entry];
    await promisify(execFile)(wrangler, args, { cwd: ROOT });
  }

  async start(): Promise<void> {
    const { witness: WITNESS, lives, isSabotaged, onLine } = this.#options;
    const own = { WITNESS, LIFE: String(lives.length), SABOTAGE: String(isSabotaged) };
    for (let tries = 1; this.#running === undefined; tries++) {
      try {
        this.#running = await startWorkerd({
          vars: { ACCESS: "local", DATA_UPSTREAM: "demo", ...own },
          main: join(this.#folder.path, "dist/worker.js"),
          storageDir: join(this.#folder.path, "storage"),
          port: this.#port,
          onLine,
        });
      } catch (error) {
        if (tries === START_TRIES) throw error;
        await sleep(100);
      }
    }
    this.#port = Number(new URL(this.#running.url).port);
    lives.push({ upAtMs: Date.now(), endedAtMs: Infinity, by: "" });
  }

  /** SIGKILL ends it at once. SIGTERM lets it finish for a moment. */
  async stop(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    const running = this.#running;
    const life = this.#options.lives.at(-1);
    if (!running || !life) return;
    this.#running = undefined;
    if (signal === "SIGKILL") life.endedAtMs = Date.now();
    await running.stop(signal);
    if (signal === "SIGTERM") life.endedAtMs = Date.now();
    life.by = signal;
  }

  /** Aborts a shard of the ledger. */
  async crashLedger(shard: string): Promise<void> {
    await this.#crash(`ledger/${shard}`);
  }

  /** Aborts a working runner. Returns the id of its task; undefined if there is none. */
  async crashRunner(): Promise<string | undefined> {
    const name = await this.#crash("runner");
    return name?.split(".")[0];
  }

  /** Begins an invocation that submits a task, and dies meanwhile. */
  async killCarrier(): Promise<void> {
    await this.#crash("carrier");
  }

  /** The name of the object; undefined if there was none, or no response. */
  async #crash(what: string): Promise<string | undefined> {
    try {
      const answer = await fetch(`${this.url}/~crash/${what}`);
      const name = await answer.text();
      return answer.status === 200 ? name : undefined;
    } catch {
      return undefined;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop("SIGKILL");
    this.#folder.remove();
  }
}
