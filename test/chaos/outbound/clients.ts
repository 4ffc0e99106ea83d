/**
 * Clients that call an upstream through Sluice, one call after the other, and do not always wait for the answer.
 *
 * Each call ends in exactly one way:
 *
 *     answered     the whole answer came; what it says is for the verdict to judge
 *     cancelled    the client itself reset the connection, while it waited or in the middle of the answer
 *     broken       the connection ended without an answer, or in the middle of one: only a process that was killed or
 *                  frozen may do that
 *     refused      nobody listened: the process is being started again; the call was never made
 */
import { request as httpRequest, type IncomingMessage } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "../random.ts";

const RESET_SHARE = 0.25;
const STREAM_SHARE = 0.2;
const QUICK_MS = [5, 50] as const;
const STREAM_MS = [100, 400] as const;
/** A client that gives up does so after this long, counted from its request or from the head of the answer. */
const PATIENCE_MS = [1, 300] as const;
const THINK_MS = [0, 20] as const;
const TRY_AGAIN_MS = 50;

export type End =
  | { is: "answered"; status: number; problem: string | undefined }
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
  /** Asked before each call: the process may have been started again elsewhere. */
  url: () => string;
  random: Random;
}

/** Calls until `signal` is aborted; a call that is under way then is still waited for. */
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

/** Makes one call, and resets its connection when `patience` is over, if that comes before the end. */
function call(url: string, id: string, patience: Patience | undefined): Promise<End> {
  const { promise, resolve } = Promise.withResolvers<End>();
  let answer: IncomingMessage | undefined;
  let hasGivenUp = false;
  const request = httpRequest(url, { agent: false, headers: { "X-Request-Id": id } });
  const giveUp = () => {
    hasGivenUp = true;
    request.socket?.resetAndDestroy();
    request.destroy();
  };
  let timer: NodeJS.Timeout | undefined;
  const loseInterest = (from: Patience["from"]) => {
    if (patience?.from === from) timer = setTimeout(giveUp, patience.ms);
  };
  loseInterest("request");
  const settle = (end: End) => {
    clearTimeout(timer);
    resolve(hasGivenUp ? { is: "cancelled", when: answer ? "reading" : "waiting" } : end);
  };
  request.on("response", (response) => {
    answer = response;
    loseInterest("head");
    readAll(response).then(
      (body) =>
        settle({ is: "answered", status: response.statusCode ?? 0, problem: problemOf(response, body) }),
      (error: unknown) => settle({ is: "broken", why: String(error) }),
    );
  });
  request.on("error", (error: NodeJS.ErrnoException) =>
    settle(error.code === "ECONNREFUSED" ? { is: "refused" } : { is: "broken", why: String(error) }),
  );
  request.end();
  return promise;
}

/** Rejects when the answer breaks off. */
async function readAll(response: IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of response) text += String(chunk);
  return text;
}

function problemOf(response: IncomingMessage, body: string): string | undefined {
  if (!response.headers["content-type"]?.includes("problem+json")) return undefined;
  return /"type":\s*"urn:sluice:problem:([\w-]+)"/.exec(body)?.[1] ?? "unknown";
}
