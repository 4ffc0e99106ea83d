/**
 * HTTP/1.1 by hand, to send and to see what no client or server would show: a body that breaks off, its framing, and
 * how a connection ended.
 */
import { connect, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

const POLL_MS = 10;
const MAX_WAIT_MS = 15_000;

/** What has come over one connection, as it was sent. */
export class Received {
  text = "";
  /** How the other side ended the connection; undefined while it is open. */
  end: "closed" | "reset" | undefined;
  readonly socket: Socket;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding("latin1");
    socket.on("data", (data) => {
      this.text += String(data);
    });
    socket.on("end", () => (this.end ??= "closed"));
    socket.on("error", () => (this.end ??= "reset"));
    socket.on("close", () => (this.end ??= "closed"));
  }

  get head(): string {
    return this.text.slice(0, Math.max(0, this.text.indexOf("\r\n\r\n")));
  }

  get status(): number {
    return Number(/^HTTP\/1\.1 (\d{3})/.exec(this.text)?.[1]);
  }

  /** What follows the head, with its framing. */
  get body(): string {
    return this.text.slice(this.head.length + 4);
  }

  header(name: string): string | undefined {
    const line = this.head
      .split("\r\n")
      .find((each) => each.toLowerCase().startsWith(`${name.toLowerCase()}:`));
    return line?.slice(name.length + 1).trim();
  }

  /** Whether the message has come to its end, as its framing says. */
  get isWhole(): boolean {
    const length = this.header("Content-Length");
    if (length !== undefined) return this.body.length >= Number(length);
    if (this.header("Transfer-Encoding") === "chunked") return this.body.endsWith("0\r\n\r\n");
    return this.head !== "";
  }

  /** Resolves when `condition` holds. Rejects if it does not within some seconds. */
  async until(condition: (received: this) => boolean): Promise<this> {
    for (let waitedMs = 0; !condition(this); waitedMs += POLL_MS) {
      if (waitedMs > MAX_WAIT_MS)
        throw new Error(`This did not come: ${String(condition)}. What came:\n${this.text}`);
      await sleep(POLL_MS);
    }
    return this;
  }
}

/** Opens a connection to the server at `url`, and sends a text. */
export function send(url: string, text: string | Buffer): Received {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.write(text);
  return new Received(socket);
}

export interface RawServer extends AsyncDisposable {
  /** Without a trailing slash. */
  origin: string;
  /** The requests so far, each on a connection of its own if it was answered with `Connection: close`. */
  requests: Received[];
}

/** A server that does with each connection what the test says, once the head of its request has come. */
export async function listen(respond: (request: Received) => void): Promise<RawServer> {
  const requests: Received[] = [];
  const server = createServer((socket) => {
    const request = new Received(socket);
    const onData = () => {
      if (request.head === "") return;
      socket.off("data", onData);
      requests.push(request);
      respond(request);
    };
    socket.on("data", onData);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("no port");
  return {
    origin: `http://127.0.0.1:${address.port}`,
    requests,
    [Symbol.asyncDispose]: async () => {
      for (const { socket } of requests) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
