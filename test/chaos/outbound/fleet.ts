/**
 * Two workerd processes with the same Worker: `home` has the semaphore, `away` calls it over the network.
 *
 * So a holder of permits can be killed or frozen while the semaphore keeps running.
 */
import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { createServer } from "node:net";
import { join } from "node:path";
import { startWorkerd, type Workerd } from "../../../bench/support/workerd.ts";

/** Any name that is the same on both ends: a CONNECT to it opens an RPC connection. */
const RPC_HOST = "chaos";

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

  private constructor(home: Workerd, away: Workerd, startAway: () => Promise<Workerd>) {
    this.#home = home;
    this.#away = away;
    this.#startAway = startAway;
  }

  static async start({ vars, onHomeLine, onAwayLine }: FleetOptions): Promise<Fleet> {
    const code = stripTypeScriptTypes(readFileSync(join(import.meta.dirname, "worker.ts"), "utf8"));
    const gate = `127.0.0.1:${await findFreePort()}`;
    const rpc = `http = (capnpConnectHost = "${RPC_HOST}")`;
    const sockets = [
      `(name = "gate", address = "${gate}", ${rpc}, service = (name = "sluice", entrypoint = "Gate"))`,
    ];
    const services = [`(name = "gate", external = (address = "${gate}", ${rpc}))`];
    const bindings = ['(name = "GATE", service = "gate")'];
    const startAway = () =>
      startWorkerd({ vars, onLine: onAwayLine, around: { code, objects: [], services, bindings } });

    await using starting = new AsyncDisposableStack();
    const home = starting.use(
      await startWorkerd({ vars, onLine: onHomeLine, around: { code, objects: [], sockets } }),
    );
    const fleet = new Fleet(home, await startAway(), startAway);
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
    await fetch(`${this.#home.url}/~crash/${name}`);
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

async function findFreePort(): Promise<number> {
  const server = createServer();
  const listening = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", () => listening.resolve());
  await listening.promise;
  const address = server.address();
  const closed = Promise.withResolvers<void>();
  server.close(() => closed.resolve());
  await closed.promise;
  if (typeof address !== "object" || address === null) throw new Error("There is no free port.");
  return address.port;
}
