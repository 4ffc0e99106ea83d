/**
 * Child processes and temporary folders that never outlive this process.
 *
 * A child lives from `startProcess` until `stop`, or until it ends by itself, which is a failure: whoever waits for
 * it to become ready races `failed`, and so gets what the child said last instead of a time-out. However this
 * process exits, its children are killed, each by its own pid, and its temporary folders are removed.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";

/** How long a child may take to end in peace. */
const STOP_MS = 2_000;
/** How long a server may take until it answers. */
const READY_MS = 20_000;
const POLL_MS = 20;
/** How much of what a child said is told when it fails. */
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
  /** Rejects when the child ends without having been stopped. */
  failed: Promise<never>;
  /** Ends the child: asks with `signal`, then kills. Resolves when it is gone. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

const atExit = new Set<() => void>();
process.on("exit", () => {
  for (const clean of [...atExit].toReversed()) clean();
});

/** Starts a child. Rejects if there is no such command. */
export async function startProcess({ command, args, cwd, env, onLine }: ChildOptions): Promise<Child> {
  const program = spawn(command, args, {
    stdio: ["ignore", "pipe", "pipe", "pipe"],
    cwd,
    env: { ...process.env, ...env },
  });
  await once(program, "spawn"); // rejects with the error, if that comes instead
  const { pid, stdio } = program;
  const control = stdio[3];
  if (pid === undefined || !(control instanceof Readable)) throw new Error(`${command} has not started.`);
  const kill = () => program.kill("SIGKILL");
  atExit.add(kill);
  const gone = once(program, "close").then(() => atExit.delete(kill));
  const lastLines = readLines(program, onLine);

  let stopping = false;
  const failed = gone.then((): Promise<never> => {
    if (stopping) return new Promise<never>(() => {});
    throw new Error(`${command} has ended (${describeEnd(program)}):\n${lastLines.join("\n")}`);
  });
  failed.catch(() => {}); // seen by whoever races it; nobody has to

  const stop = async (signal: NodeJS.Signals = "SIGTERM") => {
    stopping = true;
    program.kill(signal);
    const killer = setTimeout(kill, STOP_MS);
    await gone;
    clearTimeout(killer);
  };
  return { pid, control, failed, stop };
}

/** Resolves when the server answers 200 at `url`; rejects when its process ends, or it takes too long. */
export async function untilAnswers(url: string, child: Child): Promise<void> {
  const deadline = new AbortController();
  const late = new Error(`Nothing has answered at ${url} for ${READY_MS} ms.`);
  const timer = setTimeout(() => deadline.abort(late), READY_MS);
  const poll = async () => {
    while (!(await answers(url, deadline.signal)))
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

/** Makes a folder, and gives its path with a function that removes it. */
export function makeTemporaryFolder(): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), "sluice-"));
  const remove = () => {
    rmSync(path, { recursive: true, force: true, maxRetries: 5 });
    atExit.delete(remove);
  };
  atExit.add(remove);
  return { path, remove };
}

async function answers(url: string, signal: AbortSignal): Promise<boolean> {
  try {
    const response = await fetch(url, { signal });
    await response.body?.cancel();
    return response.status === 200;
  } catch {
    return false;
  }
}

/** Hands on each line, and gives the array in which the last of them are kept. */
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
