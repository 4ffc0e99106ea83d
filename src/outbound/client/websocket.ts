/**
 * WebSockets (RFC 6455) to an upstream, passed through message by message. Pings and compression end here: the
 * runtime does both on each side.
 *
 * The permit is held for the life of the sockets. The end of either ends the other, and the call.
 */
import { Problem } from "../../kernel/problem.ts";
import type { Upstream } from "../upstreams.ts";
import { upstreamProblem } from "./errors.ts";
import type { Sender } from "./headers.ts";

/** True for a request that would become a WebSocket (RFC 9110 §7.8, RFC 6455 §4.1). */
export const asksForWebSocket = (method: string, headers: Headers): boolean =>
  method === "GET" &&
  (headers.get("upgrade") ?? "").split(",").some((protocol) => protocol.trim().toLowerCase() === "websocket");

/**
 * Throws a 501 where the upstream has no WebSockets. What the runtime would not accept must not reach the upstream: it
 * refuses such a handshake only after the call, and the socket to the upstream, and its permit, would never end. So
 * this throws a 426 for a version other than 13 (RFC 6455 §4.4), and a 400 for a handshake that is not complete
 * (§4.2.1). Code needs neither.
 */
export function checkWebSocket(
  { name, websocket }: Upstream,
  headers: Headers,
  { isCode }: Pick<Sender, "isCode">,
): void {
  if (!websocket) {
    throw new Problem(
      "not-implemented",
      `The upstream "${name}" has no WebSockets. To allow them, set websocket = true under ` +
        `[vars.UPSTREAMS.${name}] in wrangler.toml.`,
    );
  }
  if (isCode) return;
  const key = headers.get("sec-websocket-key") ?? "";
  const upgrade = headers.get("upgrade")?.toLowerCase();
  if (headers.get("sec-websocket-version") === "13") {
    if (upgrade === "websocket" && /^[\w+/]{22}==$/.test(key)) return;
    throw new Problem(
      "malformed",
      "A WebSocket needs Upgrade: websocket alone, and a Sec-WebSocket-Key of 16 bytes in base64.",
    );
  }
  throw new Problem("upgrade-required", "Only version 13 of WebSockets is spoken here.", {
    headers: { Upgrade: "websocket", "Sec-WebSocket-Version": "13" },
  });
}

/** Adds what makes a call a handshake. The runtime adds the key and the version. */
export function addHandshake(headers: Headers, received: Headers): void {
  headers.set("upgrade", "websocket");
  const protocols = received.get("sec-websocket-protocol");
  if (protocols !== null) headers.set("sec-websocket-protocol", protocols);
}

interface RelayOptions {
  /** Closes both sockets when it aborts. */
  signal: AbortSignal;
  /** Called once, when either socket has ended, with what broke it if it did not close properly. */
  onEnd: (error?: unknown) => void;
}

/** The response that opens a WebSocket, with these headers and the subprotocol that was chosen (RFC 6455 §4.2.2). */
export function openedWebSocket(response: Response, webSocket: WebSocket, headers: Headers): Response {
  const protocol = response.headers.get("sec-websocket-protocol");
  if (protocol !== null) headers.set("sec-websocket-protocol", protocol);
  return new Response(null, { status: 101, webSocket, headers });
}

/** The same response, whose WebSocket leads to the one that the upstream has opened. */
export function relay(response: Response, upstream: WebSocket, { signal, onEnd }: RelayOptions): Response {
  const pair = new WebSocketPair();
  const [outer, client] = [pair[0], pair[1]];
  let hasEnded = false;
  const end = (error?: unknown) => {
    if (hasEnded) return;
    hasEnded = true;
    onEnd(error);
  };
  connect(client, upstream, {
    codeIfLost: GOING_AWAY,
    onClose: (isProper) =>
      end(isProper ? undefined : new Problem("client-gone", "The client's WebSocket was lost.")),
  });
  connect(upstream, client, {
    codeIfLost: INTERNAL_ERROR,
    onClose: (isProper) =>
      end(
        isProper ? undefined : upstreamProblem("upstream-unreachable", "The upstream's WebSocket was lost."),
      ),
  });
  const onAbort = () => {
    for (const socket of [client, upstream]) close(socket, TRY_AGAIN_LATER, "The permit is lost.");
    end(signal.reason);
  };
  signal.addEventListener("abort", onAbort, { once: true });
  for (const socket of [client, upstream]) {
    socket.binaryType = "arraybuffer";
    socket.accept({ allowHalfOpen: true });
  }
  return openedWebSocket(response, outer, new Headers(response.headers));
}

/** RFC 6455 §7.4.1, and the registry that it began. */
const GOING_AWAY = 1001;
const NO_STATUS = 1005;
const LOST = 1006;
const INTERNAL_ERROR = 1011;
const TRY_AGAIN_LATER = 1013;

interface Direction {
  /** What the other side is told when this one is lost without a close. */
  codeIfLost: number;
  onClose: (isProper: boolean) => void;
}

/** Passes on what comes from `from`, until it ends. */
function connect(from: WebSocket, to: WebSocket, { codeIfLost, onClose }: Direction): void {
  const onLoss = () => {
    close(to, codeIfLost);
    onClose(false);
  };
  from.addEventListener("message", ({ data }) => {
    if (to.readyState === WebSocket.READY_STATE_OPEN) to.send(data);
  });
  from.addEventListener("close", ({ code, reason }) => {
    if (code === LOST) return onLoss();
    close(to, code, reason);
    close(from, code, reason); // the other half
    onClose(true);
  });
  from.addEventListener("error", onLoss);
}

function close(socket: WebSocket, code: number, reason?: string): void {
  const isSent =
    socket.readyState === WebSocket.READY_STATE_OPEN || socket.readyState === WebSocket.READY_STATE_CLOSING;
  if (!isSent) return;
  try {
    if (code === NO_STATUS) socket.close();
    else socket.close(code, reason);
  } catch {
    // A code that may be received and not sent, or a socket that was lost just now.
    socket.close();
  }
}
