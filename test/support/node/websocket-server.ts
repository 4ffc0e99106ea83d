/** A WebSocket server and client of another implementation than the runtime's: `ws`, which wrangler brings along. */
import type { EventEmitter } from "node:events";
import { createServer } from "node:http";
import { createRequire } from "node:module";

/** What the tests use of it. The package has no types of its own. */
interface Socket extends EventEmitter {
  protocol: string;
  send(data: string | Uint8Array, options?: { binary: boolean }): void;
  close(code?: number, reason?: string): void;
  /** Ends the connection without a close. */
  terminate(): void;
}
interface Package {
  new (url: string, protocols?: string[], options?: { headers: Record<string, string> }): Socket;
  WebSocketServer: new (options: {
    server: object;
    handleProtocols?: (protocols: Set<string>) => string | false;
  }) => EventEmitter;
}
const WebSocket = createRequire(import.meta.url)("ws") as Package;

/** One end of a WebSocket, and what has come to it. */
export class End {
  readonly socket: Socket;
  readonly messages: (string | Buffer)[] = [];
  closed: { code: number; reason: string } | undefined;
  isOpen = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("open", () => (this.isOpen = true));
    socket.on("message", (data: Buffer, isBinary: boolean) =>
      this.messages.push(isBinary ? data : data.toString()),
    );
    socket.on("close", (code: number, reason: Buffer) => (this.closed = { code, reason: reason.toString() }));
    socket.on("error", () => {});
  }
}

/** Opens a WebSocket. */
export const openWebSocket = (url: string, protocols: string[] = []): End =>
  new End(new WebSocket(url, protocols));

export interface WebSocketServer extends AsyncDisposable {
  origin: string;
  /** The server's ends, in the order in which they were opened. */
  ends: End[];
}

/** A server that sends back what it gets, and takes the subprotocol "chat". */
export async function listenForWebSockets(): Promise<WebSocketServer> {
  const server = createServer((_request, response) => response.end("no WebSocket"));
  const ends: End[] = [];
  const sockets = new WebSocket.WebSocketServer({
    server,
    handleProtocols: (protocols) => (protocols.has("chat") ? "chat" : false),
  });
  sockets.on("connection", (socket: Socket) => {
    ends.push(new End(socket));
    socket.on("message", (data: Buffer, isBinary: boolean) => socket.send(data, { binary: isBinary }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("no port");
  return {
    origin: `http://127.0.0.1:${address.port}`,
    ends,
    [Symbol.asyncDispose]: async () => {
      for (const { socket } of ends) socket.terminate();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
