/** The client that everybody has. */
import { spawn, spawnSync } from "node:child_process";
import { buffer, text } from "node:stream/consumers";

/** Whether this machine has it; the tests that need it are shown as skipped where it has not. */
export const hasCurl = spawnSync("curl", ["--version"]).status === 0;

/** Runs curl, which must succeed; gives what it writes to its output. */
export async function curl(args: string[], input?: Uint8Array): Promise<Buffer> {
  const child = spawn("curl", ["--silent", "--show-error", ...args]);
  child.stdin.end(input);
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  const [output, complaint, code] = await Promise.all([buffer(child.stdout), text(child.stderr), ended]);
  if (code !== 0) throw new Error(`curl ${args.join(" ")} ended with ${code}: ${complaint}`);
  return output;
}
