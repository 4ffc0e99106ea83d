/**
 * Clients that call an upstream through Sluice, one call after another, and do not always wait for the response.
 *
 * Each call ends in exactly one way:
 *
 *     responded    the whole response came; the verdict judges what it says
 *     cancelled    the client itself reset the connection, while it waited or in the middle of the response
 *     broken       the connection ended without a response, or in the middle of one. Only a process that was killed
 *                  or frozen may do that.
 *     refused      nobody listened, because the process was restarting; the call was never made
 */
import { request as httpRequest, type IncomingMessage } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "../random.ts";

const RESET_SHARE = 0.25;
const STREAM_SHARE = 0.2;
const QUICK_MS = [5, 50] as const;
const STREAM_MS = [100, 400] as const;
/** An impatient client cancels after this long, counted from its request or from the head of the response. */
const PATIENCE_MS = [1, 300] as const;
const THINK_MS = [0, 20] as const;
const TRY_AGAIN_MS = 50;

type End =
  | { is: "responded"; status: number; problem: string | undefined }
  | { is: "cancelled"; when: "waiting" | "reading" }
  | { is: "broken"; why: string }
  | { is: "refused" };

export interface Call {
  id: string;
  /** Where the client called. */
  at: string;
  beganAtMs: number;
  endedAtMs: number;
  end: End;
}

export interface Client {
  name: string;
  at: string;
  /** Read before each call: a restarted process has a new address. */
  url: () => string;
  random: Random;
}

/** Calls until `signal` aborts, and then waits for the call that is in flight. */
export async function keepCalling(
  client: Client,
  signal: AbortSignal,
  onEnd: (call: Call) => void,
): Promise<void> {
  const { name, at, url, random } = client;
  for (let count = 1; !signal.aborted; count++) {
    const id = `${name}-${count}`;
    const beganAtMs = Date.now();
    const end = await call(`${url()}${choosePath(random)}`, id, choosePatience(random));
    onEnd({ id, at, beganAtMs, endedAtMs: Date.now(), end });
    await sleep(end.is === "refused" ? TRY_AGAIN_MS : random.between(...THINK_MS));
  }
}

const choosePath = (random: Random) =>
  random.chance(STREAM_SHARE)
    ? `/fetch/chaos/stream/${random.between(...STREAM_MS)}`
    : `/fetch/chaos/quick/${random.between(...QUICK_MS)}`;

interface Patience {
  from: "request" | "head";
  ms: number;
}

const choosePatience = (random: Random): Patience | undefined =>
  random.chance(RESET_SHARE)
    ? { from: random.chance(0.5) ? "request" : "head", ms: random.between(...PATIENCE_MS) }
    : undefined;

/** Makes one call. Resets its connection if `patience` is over before the call is. */
function call(url: string, id: string, patience: Patience | undefined): Promise<End> {
  const { promise, resolve } = Promise.withResolvers<End>();
  let received: IncomingMessage | undefined;
  let isCancelled = false;
  const request = httpRequest(url, { agent: false, headers: { "X-Request-Id": id } });
  const cancel = () => {
    isCancelled = true;
    request.socket?.resetAndDestroy();
    request.destroy();
  };
  let timer: NodeJS.Timeout | undefined;
  const startPatience = (from: Patience["from"]) => {
    if (patience?.from === from) timer = setTimeout(cancel, patience.ms);
  };
  startPatience("request");
  const settle = (end: End) => {
    clearTimeout(timer);
    resolve(isCancelled ? { is: "cancelled", when: received ? "reading" : "waiting" } : end);
  };
  request.on("response", (response) => {
    received = response;
    startPatience("head");
    readAll(response).then(
      (body) =>
        settle({ is: "responded", status: response.statusCode ?? 0, problem: problemOf(response, body) }),
      (error: unknown) => settle({ is: "broken", why: String(error) }),
    );
  });
  request.on("error", (error: NodeJS.ErrnoException) =>
    settle(error.code === "ECONNREFUSED" ? { is: "refused" } : { is: "broken", why: String(error) }),
  );
  request.end();
  return promise;
}

/** Rejects when the response breaks off. */
async function readAll(response: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of response) text += String(chunk);
  return text;
}

function problemOf(response: IncomingMessage, body: string): string | undefined {
  if (!response.headers["content-type"]?.includes("problem+json")) return undefined;
  return /"type":\s*"urn:sluice:problem:([\w-]+)"/.exec(body)?.[1] ?? "unknown";
}
