/**
 * Workerd processes with the same Worker, one of which has the Durable Objects (`gate.ts`). Each other is an isolate
 * elsewhere, and may have a long way to the objects.
 */
import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { startWorkerd, type Workerd } from "./workerd.ts";

/** Any name that is the same on both ends: a CONNECT to it opens an RPC connection. */
const RPC_HOST = "gate";
const RPC = `http = (capnpConnectHost = "${RPC_HOST}")`;

export interface GatewayOptions {
  vars: Record<string, unknown>;
  /** The source of the Worker, in TypeScript. It may import "sluice" and "gate". */
  source: string;
  onLine?: (line: string) => void;
}

const around = (source: string) => ({
  code: stripTypeScriptTypes(source),
  objects: [],
  modules: [
    {
      name: "gate",
      code: stripTypeScriptTypes(readFileSync(join(import.meta.dirname, "gate.ts"), "utf8")),
    },
  ],
});

/** Starts the process that has the objects. `gate`: where it opens them to others, as host and port. */
export async function startHome({ vars, source, onLine }: GatewayOptions, gate: string): Promise<Workerd> {
  const sockets = [
    `(name = "gate", address = "${gate}", ${RPC}, service = (name = "sluice", entrypoint = "Gate"))`,
  ];
  return startWorkerd({ vars, ...(onLine && { onLine }), around: { ...around(source), sockets } });
}

/** Starts a process that reaches the objects at `gate`. */
export async function startAway({ vars, source, onLine }: GatewayOptions, gate: string): Promise<Workerd> {
  const services = [`(name = "gate", external = (address = "${gate}", ${RPC}))`];
  const bindings = ['(name = "GATE", service = "gate")'];
  return startWorkerd({
    vars,
    ...(onLine && { onLine }),
    around: { ...around(source), services, bindings },
  });
}

export interface Link extends AsyncDisposable {
  /** Its near end, as host and port. */
  address: string;
}

/** A link to a server of this machine on which every byte takes `delayMs`, each way. */
export async function openLink(server: { port: number } | { path: string }, delayMs: number): Promise<Link> {
  const sockets = new Set<Socket>();
  const nearEnd = createServer((near) => {
    const far = connect(server);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from.setNoDelay());
      from.on("data", (bytes) => setTimeout(() => to.write(bytes), delayMs));
      from.on("close", () => setTimeout(() => to.destroy(), delayMs));
      from.on("error", () => from.destroy());
    }
  });
  const nearPort = await listen(nearEnd);
  return {
    address: `127.0.0.1:${nearPort}`,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => nearEnd.close(resolve));
    },
  };
}

/** A port of this machine that is free. */
export async function findFreePort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function listen(server: ReturnType<typeof createServer>): Promise<number> {
  const listening = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", () => listening.resolve());
  await listening.promise;
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("There is no free port.");
  return address.port;
}
