/** The Worker as its users run it: `npm run dev`, in a process of its own, on a port and storage of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const root = dirname(dirname(import.meta.dirname));

/** Not the upstreams of whoever runs the tests: they may need secrets that are not here. */
const OWN_VARIABLES = [
  "--var",
  'UPSTREAMS:{"demo": {"entrypoint": "DemoUpstream"}}',
  "--var",
  "CALLBACK_ORIGINS:{}",
];

export interface DevServer {
  url: string;
  /** Everything it has written so far. */
  output(): string;
  /** Ends it and all that it has started, with no time to say goodbye. */
  kill(): Promise<void>;
}

/** Starts it and waits until it answers. `args` are added to those of the script `dev`. */
export async function startDev(storage: string, args: string[] = []): Promise<DevServer> {
  const port = await freePort();
  const own = ["--port", String(port), "--inspector-port", String(await freePort()), "--persist-to", storage];
  // A process group of its own, so that one signal ends wrangler and the runtime under it.
  const child = spawn("npm", ["run", "dev", "--", ...own, ...OWN_VARIABLES, ...args], {
    cwd: root,
    detached: true,
    env: { ...process.env, CI: "true" },
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += String(chunk)));
  const server = { url: `http://localhost:${port}`, output: () => output, kill: () => killGroup(child) };
  const giveUpAtMs = Date.now() + 60_000;
  while (!(await isUp(server.url))) {
    if (child.exitCode !== null) throw new Error(`npm run dev ended:\n${output}`);
    if (Date.now() > giveUpAtMs) {
      await server.kill();
      throw new Error(`npm run dev does not answer:\n${output}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return server;
}

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
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const ended = new Promise((resolve) => child.once("close", resolve));
  process.kill(-child.pid, "SIGKILL");
  await ended;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
