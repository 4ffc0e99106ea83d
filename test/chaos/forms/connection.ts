/** An HTTP/1.1 client that can send any bytes, HTTP or not: one connection, one request at a time. */
import { connect, type Socket } from "node:net";

export type Outcome =
  | { is: "answered"; status: number; body: Buffer }
  /** The server closed the connection. */
  | { is: "closed" }
  /** No response within the time limit. */
  | { is: "hung" };

export interface Sending {
  /** Each piece is written a moment after the one before. */
  pieces: Buffer[];
  /** Closes this end afterwards. */
  endsEarly?: boolean;
  timeoutMs: number;
}

export class Connection {
  readonly #socket: Socket;
  #received = Buffer.alloc(0);
  #isClosed = false;
  #isUsed = false;
  #onChange = () => {};

  constructor(url: string) {
    const { hostname, port } = new URL(url);
    this.#socket = connect({ host: hostname, port: Number(port), noDelay: true, allowHalfOpen: true });
    this.#socket.on("data", (data) => {
      this.#received = Buffer.concat([this.#received, data]);
      this.#onChange();
    });
    const close = () => {
      this.#isClosed = true;
      this.#onChange();
    };
    this.#socket.on("end", close).on("close", close).on("error", close);
  }

  async send({ pieces, endsEarly = false, timeoutMs }: Sending): Promise<Outcome> {
    this.#isUsed = true;
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    const timer = setTimeout(() => resolve({ is: "hung" }), timeoutMs);
    this.#onChange = () => {
      const response = this.#takeResponse();
      if (response) resolve(response);
      else if (this.#isClosed) resolve({ is: "closed" });
    };
    await this.#write(pieces);
    if (endsEarly) this.#socket.end();
    this.#onChange();
    const outcome = await promise;
    clearTimeout(timer);
    return outcome;
  }

  /** Whether a request has been sent on this connection. */
  get isUsed(): boolean {
    return this.#isUsed;
  }

  /** Whether another request can follow: everything was sent, and nothing unexpected was received. */
  get isReusable(): boolean {
    const hasSentAll = this.#socket.writableLength === 0 && !this.#socket.writableEnded;
    return !this.#isClosed && hasSentAll && this.#received.length === 0;
  }

  close(): void {
    this.#isClosed = true;
    this.#socket.destroy();
  }

  async #write(pieces: Buffer[]): Promise<void> {
    for (const [i, piece] of pieces.entries()) {
      if (i > 0) await new Promise((resolve) => setTimeout(resolve, 1));
      if (this.#isClosed) return;
      this.#socket.write(piece);
    }
  }

  /** Takes the first complete response that was received; skips informational ones. */
  #takeResponse(): Outcome | undefined {
    const headEnd = this.#received.indexOf("\r\n\r\n");
    if (headEnd === -1) return undefined;
    const head = this.#received.toString("latin1", 0, headEnd);
    const rest = this.#received.subarray(headEnd + 4);
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1]);
    if (status >= 100 && status < 200) {
      this.#received = rest;
      return this.#takeResponse();
    }
    const taken = readBody(head, status, rest, this.#isClosed);
    if (!taken) return undefined;
    this.#received = rest.subarray(taken.length);
    if (/^connection: close/im.test(head)) this.#isClosed = true;
    return { is: "answered", status, body: taken.body };
  }
}

/** RFC 9112 §6.3. Undefined while it is not complete; `length` is its length on the wire. */
function readBody(head: string, status: number, rest: Buffer, isClosed: boolean) {
  if (status === 204 || status === 304) return { body: Buffer.alloc(0), length: 0 };
  const size = /^content-length: *(\d+)/im.exec(head)?.[1];
  if (size !== undefined) {
    const length = Number(size);
    return rest.length < length ? undefined : { body: rest.subarray(0, length), length };
  }
  if (/^transfer-encoding: *chunked/im.test(head)) return readChunked(rest);
  return isClosed ? { body: rest, length: rest.length } : undefined;
}

function readChunked(rest: Buffer) {
  const chunks: Buffer[] = [];
  for (let from = 0; ; ) {
    const lineEnd = rest.indexOf("\r\n", from);
    if (lineEnd === -1) return undefined;
    const size = Number.parseInt(rest.toString("latin1", from, lineEnd), 16);
    const to = lineEnd + 2 + size;
    if (rest.length < to + 2) return undefined;
    if (size === 0) return { body: Buffer.concat(chunks), length: to + 2 };
    chunks.push(rest.subarray(lineEnd + 2, to));
    from = to + 2;
  }
}
