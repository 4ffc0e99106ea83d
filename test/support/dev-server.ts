/**
 * The Worker as its users run it: `npm run dev`, in its own process, with its own port, storage and configuration.
 *
 * What a developer sets in wrangler.toml or .dev.vars does not reach it, so it cannot break the tests.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const root = dirname(dirname(import.meta.dirname));

const VARIABLES = {
  CORS_ORIGINS: "[]",
  CALLBACK_ORIGINS: "{}",
  UPSTREAMS: JSON.stringify({ demo: { entrypoint: "DemoUpstream" } }),
  DATA_PATH: "/todos/1",
};

export interface DevServer {
  url: string;
  /** Everything it has written so far. */
  output(): string;
  /** Kills it, and every process it has started. */
  kill(): Promise<void>;
}

/** Starts it and waits until it responds. `args` are added to those of the script `dev`. */
export async function startDev(storage: string, args: string[] = []): Promise<DevServer> {
  const place = ["--env-file", ".dev.vars.example", "--persist-to", storage];
  // The variables first: `--var` also takes what follows without a flag, such as the path of another Worker.
  return startDevIn(root, [...asFlags(VARIABLES), ...place, ...args]);
}

/** `npm run dev` in a folder, with the configuration that it finds there. */
export async function startDevIn(folder: string, args: string[] = []): Promise<DevServer> {
  const port = await freePort();
  const ports = ["--port", String(port), "--inspector-port", String(await freePort())];
  // Its own process group, so that one signal ends both wrangler and the runtime.
  const child = spawn("npm", ["run", "dev", "--", ...ports, ...args], {
    cwd: folder,
    detached: true,
    env: { ...process.env, CI: "true" },
  });
  const killAtExit = () => signalGroup(child);
  process.once("exit", killAtExit);
  child.once("close", () => process.off("exit", killAtExit));
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += String(chunk)));
  const server = { url: `http://localhost:${port}`, output: () => output, kill: () => killGroup(child) };
  const timeOutAtMs = Date.now() + 60_000;
  while (!(await isUp(server.url))) {
    if (child.exitCode !== null) throw new Error(`npm run dev ended:\n${output}`);
    if (Date.now() > timeOutAtMs) {
      await server.kill();
      throw new Error(`npm run dev does not respond:\n${output}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return server;
}

/** The flags that set these variables. The last flag for a variable wins. */
export const asFlags = (variables: Record<string, string>) =>
  Object.entries(variables).flatMap(([name, value]) => ["--var", `${name}:${value}`]);

/** An empty folder, and how to remove it. */
export function temporaryFolder() {
  const path = mkdtempSync(join(tmpdir(), "sluice-test-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

const isUp = (url: string) =>
  fetch(`${url}/healthz`).then(
    (response) => response.ok,
    () => false,
  );

async function killGroup(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  const ended = new Promise((resolve) => child.once("close", resolve));
  signalGroup(child);
  await ended;
}

function signalGroup(child: ChildProcess): void {
  if (!hasEnded(child) && child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
}

const hasEnded = ({ exitCode, signalCode }: ChildProcess) => exitCode !== null || signalCode !== null;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
