/**
 * The upstream of the chaos: it counts what is really in flight, streams, and says 429 in bursts.
 *
 *     /quick/{ms}     answers after so long
 *     /stream/{ms}    begins to answer at once, and sends a line every 20 ms for so long
 *
 * A call is in flight from its headers until its answer has been sent, or the other end of its connection is gone,
 * which FIN tells as well as a reset. It is a process of its own, so that nobody's chaos slows its clock.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { z } from "zod";
import { startProcess } from "../../../bench/support/process.ts";
import { CallMeter } from "../../../bench/support/upstream.ts";

const CHUNK_MS = 20;
/** How many moments over the limit are told of in detail. */
const MOST_TOLD = 5;

const overSchema = z.object({
  atMs: z.number(),
  calls: z.array(z.object({ id: z.string(), atMs: z.number() })),
  /** The call by whose end it was over, and how long it had lasted. */
  until: z.object({ id: z.string(), isBrokenOff: z.boolean(), ms: z.number() }).optional(),
});
type Over = z.output<typeof overSchema>;

const seenSchema = z.object({
  calls: z.number(),
  meanInFlight: z.number(),
  maxInFlight: z.number(),
  /** Calls that ended because the other end went away. */
  brokenOff: z.number(),
  /** Calls answered 429. */
  tooMany: z.number(),
  /** Request id and time (ms since the epoch) of every call, in the order they came. */
  arrivals: z.array(z.tuple([z.string(), z.number()])),
  /** The first moments with more in flight than the limit, and how each was over. */
  over: z.array(overSchema),
});

/** What the upstream has seen. */
export type Seen = z.output<typeof seenSchema>;

export interface ChaosUpstream extends AsyncDisposable {
  url: string;
  /** Answers everything 429 for so long. */
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
  readonly #inFlight = new Map<ServerResponse, { id: string; atMs: number }>();
  readonly #seen: Pick<Seen, "brokenOff" | "tooMany" | "arrivals" | "over"> = {
    brokenOff: 0,
    tooMany: 0,
    arrivals: [],
    over: [],
  };
  /** Those of `over` that are not yet. */
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

  answer(kind: string, ms: number, request: IncomingMessage, response: ServerResponse): void {
    const stop = this.#begin(request, response);
    if (now() < this.#burstUntilMs) {
      this.#seen.tooMany++;
      response.writeHead(429, { "Retry-After": "1" }).end("too many\n");
      return;
    }
    const timer = kind === "stream" ? stream(response, ms) : setTimeout(() => response.end("done\n"), ms);
    stop.signal.addEventListener("abort", () => clearInterval(timer));
  }

  /** Counts the call in, and out when it is over; aborts what is given then. */
  #begin(request: IncomingMessage, response: ServerResponse): AbortController {
    const id = String(request.headers["x-request-id"]);
    const beganAtMs = now();
    this.#seen.arrivals.push([id, beganAtMs]);
    this.#meter.begin(beganAtMs);
    this.#inFlight.set(response, { id, atMs: beganAtMs });
    if (this.#inFlight.size > this.#limit && this.#seen.over.length < MOST_TOLD) {
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
      if (this.#inFlight.size > this.#limit) return;
      for (const over of this.#over.splice(0)) over.until = { id, isBrokenOff, ms: now() - over.atMs };
    });
    return stop;
  }
}

/**
 * Calls back when the answer has been sent, or the other end is gone. That Node says of the response only after what
 * else has come in at the same moment, such as the call that has been let in for this one; the socket says it at once.
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
    else calls.answer(kind, Number(text), request, response);
  });
  // Node would finish its answer to a peer that has said FIN; a holder that was killed says no more than that.
  server.on("connection", (socket) => socket.once("end", () => socket.destroy()));
  server.listen(0, "127.0.0.1", () => {
    const address = server.address();
    if (typeof address === "object") console.log(`http://127.0.0.1:${address?.port}`);
  });
}

if (import.meta.main) serve(Number(process.argv[2]));
