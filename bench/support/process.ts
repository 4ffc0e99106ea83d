/**
 * Child processes and temporary folders that never outlive this process.
 *
 * A child lives from `startProcess` until `stop`. If it ends by itself, that is a failure: code that waits for it to
 * become ready races `failed`, and so gets the child's last output instead of a timeout. However this process exits,
 * its children are killed, each by its own pid, and its temporary folders are removed.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";

/** How long a child may take to end before it is killed. */
const STOP_MS = 2_000;
/** How long a server may take until it responds. */
const READY_MS = 60_000;
const POLL_MS = 20;
/** How many of its last lines are shown when a child fails. */
const LAST_LINES = 40;

export interface ChildOptions {
  command: string;
  args: string[];
  cwd?: string;
  /** Added to the environment of this process. */
  env?: Record<string, string>;
  /** Called with each line the child writes, to stdout or stderr. */
  onLine?: ((line: string) => void) | undefined;
}

export interface Child {
  pid: number;
  /** What the child writes to its file descriptor 3. */
  control: Readable;
  /** Rejects if the child ends without being stopped. */
  failed: Promise<never>;
  /** Ends the child: sends `signal`, and SIGKILL if that does not help. Resolves when the child is gone. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

const atExit = new Set<() => void>();
process.on("exit", () => {
  for (const clean of [...atExit].toReversed()) clean();
});

/** Starts a child. Rejects if the command does not exist. */
export async function startProcess({ command, args, cwd, env, onLine }: ChildOptions): Promise<Child> {
  const program = spawn(command, args, {
    stdio: ["ignore", "pipe", "pipe", "pipe"],
    cwd,
    env: { ...process.env, ...env },
  });
  await once(program, "spawn"); // rejects if the error event comes instead
  const { pid, stdio } = program;
  const control = stdio[3];
  if (pid === undefined || !(control instanceof Readable)) throw new Error(`${command} did not start.`);
  const kill = () => program.kill("SIGKILL");
  atExit.add(kill);
  const gone = once(program, "close").then(() => atExit.delete(kill));
  const lastLines = readLines(program, onLine);

  let stopping = false;
  const failed = gone.then((): Promise<never> => {
    if (stopping) return new Promise<never>(() => {});
    throw new Error(`${command} ended unexpectedly (${describeEnd(program)}):\n${lastLines.join("\n")}`);
  });
  failed.catch(() => {}); // whoever races it sees the rejection; nobody has to

  const stop = async (signal: NodeJS.Signals = "SIGTERM") => {
    stopping = true;
    program.kill(signal);
    const killer = setTimeout(kill, STOP_MS);
    await gone;
    clearTimeout(killer);
  };
  return { pid, control, failed, stop };
}

/** Resolves when the server responds with 200 at `url`. Rejects if its process ends, or if it takes too long. */
export async function untilResponds(url: string, child: Child): Promise<void> {
  const deadline = new AbortController();
  const late = new Error(`Nothing responded at ${url} within ${READY_MS} ms.`);
  const timer = setTimeout(() => deadline.abort(late), READY_MS);
  const poll = async () => {
    while (!(await responds(url, deadline.signal)))
      await sleep(POLL_MS, undefined, { signal: deadline.signal });
  };
  try {
    await Promise.race([poll(), child.failed]);
  } catch (error) {
    throw deadline.signal.aborted ? late : error;
  } finally {
    clearTimeout(timer);
    deadline.abort();
  }
}

/** Makes a folder. Returns its path and a function that removes it. */
export function makeTemporaryFolder(): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), "sluice-"));
  const remove = () => {
    rmSync(path, { recursive: true, force: true, maxRetries: 5 });
    atExit.delete(remove);
  };
  atExit.add(remove);
  return { path, remove };
}

async function responds(url: string, signal: AbortSignal): Promise<boolean> {
  try {
    const response = await fetch(url, { signal });
    await response.body?.cancel();
    return response.status === 200;
  } catch {
    return false;
  }
}

/** Passes on each line. Returns the array that holds the last of them. */
function readLines({ stdout, stderr }: ChildProcess, onLine?: (line: string) => void): string[] {
  const last: string[] = [];
  for (const stream of [stdout, stderr]) {
    if (!stream) continue;
    createInterface({ input: stream }).on("line", (line) => {
      last.push(line);
      if (last.length > LAST_LINES) last.shift();
      onLine?.(line);
    });
  }
  return last;
}

const describeEnd = ({ exitCode, signalCode }: ChildProcess) => signalCode ?? `exit code ${exitCode}`;
