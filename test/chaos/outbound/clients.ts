/**
 * Clients that call an upstream through Sluice, one call after another, and do not always wait for the response, nor
 * send all of their request.
 *
 * Each call ends in exactly one way:
 *
 *     responded    the whole response came; the verdict judges what it says
 *     cancelled    the client itself reset the connection: in the middle of its upload, while it waited, or in the
 *                  middle of the response
 *     broken       the connection ended without a response, or in the middle of one. Only a process that was killed
 *                  or frozen may do that.
 *     refused      nobody listened, because the process was restarting; the call was never made
 */
import { type ClientRequest, request as httpRequest, type IncomingMessage } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "../random.ts";

const RESET_SHARE = 0.25;
const STREAM_SHARE = 0.2;
const UPLOAD_SHARE = 0.2;
/** Of the calls to the upstream with shards, how many have a limit key, and how many of them that of the customer who calls most. */
const KEYED_SHARE = 0.5;
const NOISY_SHARE = 0.5;
const CUSTOMERS = ["ada", "bo", "cy"] as const;
const HEAVY_SHARE = 0.25;
const CHUNKS = [2, 8] as const;
const CHUNK_BYTES = [1, 60_000] as const;
const QUICK_MS = [5, 50] as const;
const STREAM_MS = [100, 400] as const;
/** An impatient client cancels after this long, counted from its request or from the head of the response. */
const PATIENCE_MS = [1, 300] as const;
const THINK_MS = [0, 20] as const;
const TRY_AGAIN_MS = 50;
const CHUNK_EVERY_MS = 10;

type End =
  | { is: "responded"; status: number; problem: string | undefined }
  | { is: "cancelled"; when: "sending" | "waiting" | "reading" }
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
  /** How many of its calls go to the upstream whose semaphore has several shards. */
  shardedShare: number;
  /** How much a call to that one may weigh. To the other go calls without key and weight: their permits are handed on. */
  maxWeight: number;
  random: Random;
}

/** For whom a call is made, and how many permits it takes. The path says it to the upstream, which counts both. */
interface Claim {
  key: string | undefined;
  weight: number;
}

const NO_CLAIM: Claim = { key: undefined, weight: 1 };

function chooseClaim(random: Random, maxWeight: number): Claim {
  const weight = random.chance(HEAVY_SHARE) ? random.between(1, maxWeight) : 1;
  if (!random.chance(KEYED_SHARE)) return { key: undefined, weight };
  const key = random.chance(NOISY_SHARE) ? "noisy" : CUSTOMERS[random.between(0, CUSTOMERS.length - 1)];
  return { key, weight };
}

/** Calls until `signal` aborts, and then waits for the call that is in flight. */
export async function keepCalling(
  client: Client,
  signal: AbortSignal,
  onEnd: (call: Call) => void,
): Promise<void> {
  const { name, at, url, shardedShare, maxWeight, random } = client;
  for (let count = 1; !signal.aborted; count++) {
    const id = `${name}-${count}`;
    const beganAtMs = Date.now();
    const upload = random.chance(UPLOAD_SHARE) ? chooseUpload(random) : undefined;
    const upstream = random.chance(shardedShare) ? "sharded" : "chaos";
    const path = upload ? `upload/${random.between(...QUICK_MS)}` : choosePath(random);
    const claim = upstream === "sharded" ? chooseClaim(random, maxWeight) : NO_CLAIM;
    const to = `${url()}/fetch/${upstream}/${path}/${claim.key ?? "-"}/${claim.weight}`;
    const end = await call(to, id, claim, choosePatience(random), upload);
    onEnd({ id, at, beganAtMs, endedAtMs: Date.now(), end });
    await sleep(end.is === "refused" ? TRY_AGAIN_MS : random.between(...THINK_MS));
  }
}

const choosePath = (random: Random) =>
  random.chance(STREAM_SHARE)
    ? `stream/${random.between(...STREAM_MS)}`
    : `quick/${random.between(...QUICK_MS)}`;

/** A body in chunks, with or without a Content-Length. Its client may reset the connection before the last of them. */
interface Upload {
  chunks: Buffer[];
  hasLength: boolean;
  breaksOffAfter: number;
}

function chooseUpload(random: Random): Upload {
  const chunks = Array.from({ length: random.between(...CHUNKS) }, () =>
    Buffer.alloc(random.between(...CHUNK_BYTES), "x"),
  );
  const breaksOffAfter = random.chance(RESET_SHARE) ? random.between(1, chunks.length - 1) : Infinity;
  return { chunks, hasLength: random.chance(0.5), breaksOffAfter };
}

/** Sends a body, or breaks it off. Resolves to true if all of it was sent. */
async function sendBody(
  request: ClientRequest,
  { chunks, breaksOffAfter }: Upload,
  breakOff: () => void,
): Promise<boolean> {
  for (const [i, chunk] of chunks.entries()) {
    if (i >= breaksOffAfter) {
      breakOff();
      return false;
    }
    // With a Content-Length, the body is whole with its last chunk: whoever cancels after that breaks nothing off.
    if (i === chunks.length - 1) request.end(chunk);
    else {
      request.write(chunk);
      await sleep(CHUNK_EVERY_MS);
    }
  }
  return true;
}

interface Patience {
  from: "request" | "head";
  ms: number;
}

const choosePatience = (random: Random): Patience | undefined =>
  random.chance(RESET_SHARE)
    ? { from: random.chance(0.5) ? "request" : "head", ms: random.between(...PATIENCE_MS) }
    : undefined;

/** Makes one call. Resets its connection if `patience` is over before the call is, or where its upload breaks off. */
function call(
  url: string,
  id: string,
  { key, weight }: Claim,
  patience: Patience | undefined,
  upload: Upload | undefined,
): Promise<End> {
  const { promise, resolve } = Promise.withResolvers<End>();
  let received: IncomingMessage | undefined;
  let isCancelled = false;
  let isSent = upload === undefined;
  const length = upload?.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  const request = httpRequest(url, {
    agent: false,
    method: upload ? "POST" : "GET",
    headers: {
      "X-Request-Id": id,
      ...(key !== undefined && { "Sluice-Limit-Key": key }),
      ...(weight > 1 && { "Sluice-Weight": weight }),
      ...(upload?.hasLength && { "Content-Length": length }),
    },
  });
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
    const when = isSent ? (received ? "reading" : "waiting") : "sending";
    resolve(isCancelled ? { is: "cancelled", when } : end);
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
  if (!upload) request.end();
  else {
    request.flushHeaders();
    sendBody(request, upload, cancel)
      .then((isWhole) => (isSent = isWhole))
      .catch(() => {}); // the request's `error` event says it
  }
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
