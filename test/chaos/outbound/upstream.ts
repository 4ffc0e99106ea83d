/**
 * The upstream of the chaos run: it counts the calls that are really in flight, streams, and sends bursts of 429.
 *
 *     /quick/{ms}     responds after this time
 *     /stream/{ms}    begins to respond at once, and sends a line every 20 ms for this time
 *     /upload/{ms}    reads the request to its end, and responds after this time
 *
 * Each path ends with the limit key of the call and its weight, as in `/quick/20/ada/2`; `-` is no key.
 *
 * A call is in flight from its headers until its response has been sent, or until the other end closes the
 * connection, by FIN or by reset. The upstream is a process of its own, so that the chaos does not slow its clock.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { z } from "zod";
import { startProcess } from "../../../bench/support/process.ts";
import { CallMeter } from "../../../bench/support/upstream.ts";

const CHUNK_MS = 20;
/** How many moments over the limit are reported in detail. */
const MAX_DETAILED = 5;

const overSchema = z.object({
  atMs: z.number(),
  calls: z.array(z.object({ id: z.string(), atMs: z.number() })),
  /** The call whose end brought it back to the limit, and how long that took. */
  until: z.object({ id: z.string(), isBrokenOff: z.boolean(), ms: z.number() }).optional(),
});
type Over = z.output<typeof overSchema>;

const seenSchema = z.object({
  calls: z.number(),
  meanInFlight: z.number(),
  maxInFlight: z.number(),
  /** What they weighed together, at most. */
  maxWeight: z.number(),
  /** The same of those with one limit key. */
  maxUnderKey: z.number(),
  /** Headers that were for Sluice, and travelled on. */
  leaked: z.number(),
  /** Calls that ended because the other end closed the connection. */
  brokenOff: z.number(),
  /** Calls that got a 429. */
  tooMany: z.number(),
  /** Request ids of the uploads that came to their end, as their framing says. */
  wholeUploads: z.array(z.string()),
  /** Request id and time (ms since the epoch) of every call, in the order they came. */
  arrivals: z.array(z.tuple([z.string(), z.number()])),
  /** The first moments with more calls in flight than the limit, and how each ended. */
  over: z.array(overSchema),
});

/** What the upstream has seen. */
export type Seen = z.output<typeof seenSchema>;

export interface ChaosUpstream extends AsyncDisposable {
  url: string;
  /** Responds to everything with 429 for this long. */
  burst(ms: number): Promise<void>;
  read(): Promise<Seen>;
}

export async function startChaosUpstream(limit: number): Promise<ChaosUpstream> {
  const listening = Promise.withResolvers<string>();
  const args = [import.meta.filename, String(limit)];
  const child = await startProcess({ command: process.execPath, args, onLine: listening.resolve });
  const url = await Promise.race([listening.promise, child.failed]);
  return {
    url,
    burst: async (ms) => {
      await fetch(`${url}/~burst/${ms}`, { method: "POST" });
    },
    read: async () => seenSchema.parse(await (await fetch(`${url}/~read`)).json()),
    [Symbol.asyncDispose]: () => child.stop(),
  };
}

const now = () => performance.timeOrigin + performance.now();

class Calls {
  readonly #limit: number;
  readonly #meter = new CallMeter(now());
  readonly #inFlight = new Map<ServerResponse, { id: string; atMs: number; key: string; weight: number }>();
  readonly #seen: Omit<Seen, "calls" | "meanInFlight" | "maxInFlight"> = {
    maxWeight: 0,
    maxUnderKey: 0,
    leaked: 0,
    brokenOff: 0,
    tooMany: 0,
    wholeUploads: [],
    arrivals: [],
    over: [],
  };
  /** Moments over the limit that have not ended yet. */
  #over: Over[] = [];
  #burstUntilMs = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  burst(ms: number): void {
    this.#burstUntilMs = now() + ms;
  }

  read(): Seen {
    return { ...this.#meter.read(now()), ...this.#seen };
  }

  respond(kind: string, ms: number, request: IncomingMessage, response: ServerResponse): void {
    const stop = this.#begin(request, response);
    if (now() < this.#burstUntilMs) {
      this.#seen.tooMany++;
      response.writeHead(429, { "Retry-After": "1" }).end("too many\n");
      return;
    }
    let timer: NodeJS.Timeout | undefined;
    const respondLater = () => (timer = setTimeout(() => response.end("done\n"), ms));
    if (kind === "upload")
      request.resume().once("end", () => {
        this.#seen.wholeUploads.push(String(request.headers["x-request-id"]));
        respondLater();
      });
    else if (kind === "stream") timer = stream(response, ms);
    else respondLater();
    stop.signal.addEventListener("abort", () => clearInterval(timer));
  }

  /** Counts the call as in flight until it is over. The returned controller aborts then. */
  #begin(request: IncomingMessage, response: ServerResponse): AbortController {
    const id = String(request.headers["x-request-id"]);
    const beganAtMs = now();
    this.#seen.arrivals.push([id, beganAtMs]);
    this.#meter.begin(beganAtMs);
    const [, , , key = "-", weight = "1"] = (request.url ?? "/").split("/");
    this.#inFlight.set(response, { id, atMs: beganAtMs, key, weight: Number(weight) });
    this.#seen.maxWeight = Math.max(this.#seen.maxWeight, this.#weigh());
    if (key !== "-") this.#seen.maxUnderKey = Math.max(this.#seen.maxUnderKey, this.#weigh(key));
    this.#seen.leaked += Object.keys(request.headers).filter((name) => name.startsWith("sluice-")).length;
    if (this.#weigh() > this.#limit && this.#seen.over.length < MAX_DETAILED) {
      this.#over.push({ atMs: beganAtMs, calls: [...this.#inFlight.values()] });
      this.#seen.over.push(...this.#over.slice(-1));
    }
    const stop = new AbortController();
    onceOver(request.socket, response, () => {
      stop.abort();
      this.#inFlight.delete(response);
      this.#meter.end(now());
      const isBrokenOff = !response.writableFinished;
      if (isBrokenOff) this.#seen.brokenOff++;
      if (this.#weigh() > this.#limit) return;
      for (const over of this.#over.splice(0)) over.until = { id, isBrokenOff, ms: now() - over.atMs };
    });
    return stop;
  }

  /** What is in flight weighs so much; with a limit key, what that has. */
  #weigh(key?: string): number {
    const counted = [...this.#inFlight.values()].filter((call) => key === undefined || call.key === key);
    return counted.reduce((sum, { weight }) => sum + weight, 0);
  }
}

/**
 * Calls `onOver` when the response has been sent, or the other end has gone. For the latter, Node's response emits
 * `close` only after other input of the same moment, such as the call that took this one's permit. The socket is
 * first.
 */
function onceOver(socket: Socket, response: ServerResponse, onOver: () => void): void {
  const over = () => {
    socket.off("end", over).off("error", over);
    response.off("close", over);
    onOver();
  };
  socket.once("end", over).once("error", over);
  response.once("close", over);
}

function stream(response: ServerResponse, ms: number): NodeJS.Timeout {
  const endsAtMs = now() + ms;
  response.write("begun\n");
  return setInterval(() => {
    if (now() < endsAtMs) response.write("more\n");
    else response.end("done\n");
  }, CHUNK_MS);
}

function serve(limit: number): void {
  const calls = new Calls(limit);
  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    const [, kind = "", text = ""] = (request.url ?? "/").split("/");
    if (kind === "~read") response.end(JSON.stringify(calls.read()));
    else if (kind === "~burst") response.end(String(calls.burst(Number(text))));
    else calls.respond(kind, Number(text), request, response);
  });
  // Node would finish its response to a peer that has sent FIN. A killed holder sends nothing else.
  server.on("connection", (socket) => socket.once("end", () => socket.destroy()));
  server.listen(0, "127.0.0.1", () => {
    const address = server.address();
    if (typeof address === "object") console.log(`http://127.0.0.1:${address?.port}`);
  });
}

if (import.meta.main) serve(Number(process.argv[2]));
