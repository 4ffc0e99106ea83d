/**
 * Requests that a client of ours makes byte by byte: it can stop in the middle and hold the connection open, or reset
 * it.
 */
import { request as httpRequest, type IncomingMessage } from "node:http";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";

const PIECE = 128 * 1024;
/** Longer than anything may take. */
const NO_ANSWER_MS = 30_000;

export interface WireAnswer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
  beganAtMs: number;
  endedAtMs: number;
}

/** The connection ended before the answer, or in the middle of it: the server was killed, or nobody listens yet. */
export class BrokenOff extends Error {}

export interface Request {
  method: string;
  url: string;
  headers?: Record<string, string | number>;
  body?: Buffer;
}

export interface Exchange {
  /** Rejects with `BrokenOff`. */
  answer: Promise<WireAnswer>;
  /** Sends these bytes of the body, a piece at a time, until there is an answer. Never rejects. */
  write(bytes: Buffer, pauseMs?: number): Promise<void>;
  reset(): void;
}

/** Sends the head of a request; Content-Length must be among its headers if it has a body. */
export function open({ method, url, headers = {} }: Omit<Request, "body">): Exchange {
  const { promise: answer, resolve, reject } = Promise.withResolvers<WireAnswer>();
  const sending = { isOver: false };
  const beganAtMs = performance.now();
  const breakOff = (error: unknown) => reject(new BrokenOff(`${method} ${url}: ${String(error)}`));
  const request = httpRequest(url, { method, headers, agent: false });
  const timer = setTimeout(() => {
    reject(new Error(`No answer to ${method} ${url} for ${NO_ANSWER_MS} ms.`));
    request.destroy();
  }, NO_ANSWER_MS);
  const read = async (response: IncomingMessage) => {
    sending.isOver = true;
    const endedAtMs = performance.now();
    const { statusCode: status = 0, headers: said } = response;
    resolve({ status, headers: said, body: await buffer(response), beganAtMs, endedAtMs });
    request.destroy(); // it may have been answered before all of it was sent
  };
  request.on("response", (response) => {
    read(response).catch(breakOff);
  });
  request.on("error", breakOff);
  request.on("close", () => {
    sending.isOver = true;
    clearTimeout(timer);
  });
  answer.catch(() => {}); // seen by whoever awaits it; nobody has to
  if (headers["Content-Length"] === 0) request.end();
  else request.flushHeaders();
  return {
    answer,
    async write(bytes, pauseMs = 0) {
      for (let at = 0; at < bytes.length && !sending.isOver; at += PIECE) {
        const written = new Promise((done) => {
          request.write(bytes.subarray(at, at + PIECE), done);
        });
        await Promise.race([written, answer.catch(() => {})]);
        if (pauseMs > 0) await sleep(pauseMs);
      }
    },
    reset() {
      request.socket?.resetAndDestroy();
      request.destroy();
    },
  };
}

/** A request as any client makes it. Rejects with `BrokenOff`. */
export async function send({ body = Buffer.alloc(0), ...request }: Request): Promise<WireAnswer> {
  const exchange = open({ ...request, headers: { ...request.headers, "Content-Length": body.length } });
  await exchange.write(body);
  return exchange.answer;
}

const TRY_AGAIN_MS = 50;
/** More than a run can kill. */
const TRIES = 400;

/** Makes a request again until there is an answer: for what can be repeated without harm. */
export async function sendUntilAnswered(request: Request): Promise<WireAnswer> {
  return untilAnswered(async () => send(request));
}

export async function untilAnswered<T>(action: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof BrokenOff) || tries === TRIES) throw error;
    }
    await sleep(TRY_AGAIN_MS);
  }
}

export function headerOf(answer: WireAnswer, name: string): string | undefined {
  const value = answer.headers[name.toLowerCase()];
  return Array.isArray(value) ? value[0] : value;
}
