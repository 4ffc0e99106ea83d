/**
 * An upstream that counts: it responds with JSON after a delay, and integrates its number of calls in flight over
 * time.
 *
 * It reports the concurrency that really arrived, whatever the caller believes it has sent. A call is in flight from
 * its headers until its response has been sent or its connection has closed. The upstream is a process of its own, so
 * that neither the load generator nor the measured server slows its clock.
 */
import { createServer } from "node:http";
import { z } from "zod";
import { startProcess } from "./process.ts";

const callCountSchema = z.object({
  /** Calls that have begun. */
  calls: z.number(),
  meanInFlight: z.number(),
  maxInFlight: z.number(),
});

/** What the upstream has seen since the last reset. */
export type CallCount = z.output<typeof callCountSchema>;

export interface Upstream extends AsyncDisposable {
  /** Its origin. Every request counts as a call, except those under `/~`. */
  url: string;
  /** Resets the counts. From now on calls take `delayMs`; by default as long as before. */
  reset(delayMs?: number): Promise<void>;
  read(): Promise<CallCount>;
}

/** Starts an upstream on a free port of 127.0.0.1. */
export async function startUpstream(): Promise<Upstream> {
  const listening = Promise.withResolvers<string>();
  const child = await startProcess({
    command: process.execPath,
    args: [import.meta.filename],
    onLine: listening.resolve,
  });
  const url = await Promise.race([listening.promise, child.failed]);
  return {
    url,
    reset: async (delayMs) => {
      await fetch(`${url}/~reset${delayMs === undefined ? "" : `?delayMs=${delayMs}`}`, { method: "POST" });
    },
    read: async () => callCountSchema.parse(await (await fetch(`${url}/~read`)).json()),
    [Symbol.asyncDispose]: () => child.stop(),
  };
}

/** The number of calls in flight, integrated over time. Times are ms, from any origin. */
export class CallMeter {
  #inFlight = 0;
  #maxInFlight = 0;
  #calls = 0;
  #callMs = 0;
  #startMs: number;
  #lastMs: number;

  constructor(nowMs: number) {
    this.#startMs = nowMs;
    this.#lastMs = nowMs;
  }

  begin(nowMs: number): void {
    this.#advance(nowMs);
    this.#calls++;
    this.#inFlight++;
    this.#maxInFlight = Math.max(this.#maxInFlight, this.#inFlight);
  }

  end(nowMs: number): void {
    this.#advance(nowMs);
    this.#inFlight--;
  }

  /** Resets the counts. Calls in flight stay in flight. */
  reset(nowMs: number): void {
    this.#advance(nowMs);
    this.#callMs = 0;
    this.#calls = 0;
    this.#maxInFlight = this.#inFlight;
    this.#startMs = nowMs;
  }

  read(nowMs: number): CallCount {
    this.#advance(nowMs);
    const meanInFlight = this.#callMs / Math.max(nowMs - this.#startMs, 1);
    return { calls: this.#calls, meanInFlight, maxInFlight: this.#maxInFlight };
  }

  #advance(nowMs: number): void {
    this.#callMs += this.#inFlight * (nowMs - this.#lastMs);
    this.#lastMs = nowMs;
  }
}

function serve(): void {
  const meter = new CallMeter(performance.now());
  let delayMs = 20;
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? "/", "http://upstream");
    if (url.pathname === "/~read") {
      response.end(JSON.stringify(meter.read(performance.now())));
      return;
    }
    if (url.pathname === "/~reset") {
      meter.reset(performance.now());
      delayMs = Number(url.searchParams.get("delayMs") ?? delayMs);
      response.end();
      return;
    }
    meter.begin(performance.now());
    const timer = setTimeout(() => {
      response.setHeader("Content-Type", "application/json");
      response.end('{"userId":1,"id":1,"title":"walk along the mill race","completed":false}');
    }, delayMs);
    response.once("close", () => {
      clearTimeout(timer);
      meter.end(performance.now());
    });
  });
  server.listen(0, "127.0.0.1", () => {
    const address = server.address();
    if (typeof address === "object") console.log(`http://127.0.0.1:${address?.port}`);
  });
}

if (import.meta.main) serve();
