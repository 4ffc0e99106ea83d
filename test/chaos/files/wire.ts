/**
 * Requests that our own client sends byte by byte: it can stop in the middle and keep the connection open, or reset
 * it.
 */
import { request as httpRequest, type IncomingMessage } from "node:http";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";

const PIECE = 128 * 1024;
/** Longer than any request may take. */
const NO_RESPONSE_MS = 30_000;

export interface WireResponse {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
  beganAtMs: number;
  endedAtMs: number;
}

/** The connection ended before the response was complete: the server was killed, or does not listen yet. */
export class BrokenOff extends Error {}

export interface Request {
  method: string;
  url: string;
  headers?: Record<string, string | number>;
  body?: Buffer;
}

export interface Exchange {
  /** Rejects with `BrokenOff`. */
  response: Promise<WireResponse>;
  /** Sends these bytes of the body in pieces, until there is a response. Never rejects. */
  write(bytes: Buffer, pauseMs?: number): Promise<void>;
  /** Ends a chunked body. */
  end(): void;
  reset(): void;
}

/** Sends the head of a request. If Content-Length is not among its headers, its body is chunked. */
export function open({ method, url, headers = {} }: Omit<Request, "body">): Exchange {
  const { promise: response, resolve, reject } = Promise.withResolvers<WireResponse>();
  const sending = { isOver: false };
  const beganAtMs = performance.now();
  const breakOff = (error: unknown) => reject(new BrokenOff(`${method} ${url}: ${String(error)}`));
  const request = httpRequest(url, { method, headers, agent: false });
  const timer = setTimeout(() => {
    reject(new Error(`No response to ${method} ${url} for ${NO_RESPONSE_MS} ms.`));
    request.destroy();
  }, NO_RESPONSE_MS);
  const read = async (message: IncomingMessage) => {
    sending.isOver = true;
    const endedAtMs = performance.now();
    const { statusCode: status = 0, headers: responseHeaders } = message;
    resolve({ status, headers: responseHeaders, body: await buffer(message), beganAtMs, endedAtMs });
    request.destroy(); // the response may come before the whole request was sent
  };
  request.on("response", (message) => {
    read(message).catch(breakOff);
  });
  request.on("error", breakOff);
  request.on("close", () => {
    sending.isOver = true;
    clearTimeout(timer);
  });
  response.catch(() => {}); // whoever awaits it sees the error, but nobody has to
  if (headers["Content-Length"] === 0) request.end();
  else request.flushHeaders();
  return {
    response,
    async write(bytes, pauseMs = 0) {
      for (let at = 0; at < bytes.length && !sending.isOver; at += PIECE) {
        const written = new Promise((done) => {
          request.write(bytes.subarray(at, at + PIECE), done);
        });
        await Promise.race([written, response.catch(() => {})]);
        if (pauseMs > 0) await sleep(pauseMs);
      }
    },
    end() {
      request.end();
    },
    reset() {
      request.socket?.resetAndDestroy();
      request.destroy();
    },
  };
}

/** An ordinary request. Rejects with `BrokenOff`. */
export async function send({ body = Buffer.alloc(0), ...request }: Request): Promise<WireResponse> {
  const exchange = open({ ...request, headers: { ...request.headers, "Content-Length": body.length } });
  await exchange.write(body);
  return exchange.response;
}

/** A request whose body is chunked and has no chunk. Rejects with `BrokenOff`. */
export async function sendChunkedEmpty(request: Request): Promise<WireResponse> {
  const exchange = open(request);
  exchange.end();
  return exchange.response;
}

const TRY_AGAIN_MS = 50;
/** More than the kills of a run. */
const TRIES = 400;

/** Repeats a request until there is a response; for requests that can be repeated safely. */
export async function sendUntilResponse(request: Request): Promise<WireResponse> {
  return untilResponse(async () => send(request));
}

export async function untilResponse<T>(action: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof BrokenOff) || tries === TRIES) throw error;
    }
    await sleep(TRY_AGAIN_MS);
  }
}

export function headerOf(response: WireResponse, name: string): string | undefined {
  const value = response.headers[name.toLowerCase()];
  return Array.isArray(value) ? value[0] : value;
}
