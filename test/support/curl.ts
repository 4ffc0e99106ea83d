/** curl, the client that most people have. */
import { spawn, spawnSync } from "node:child_process";
import { buffer, text } from "node:stream/consumers";

/** Whether this machine has curl; without it, the tests that need it are skipped. */
export const hasCurl = spawnSync("curl", ["--version"]).status === 0;

/** Runs curl, which must succeed; returns what it writes to standard output. */
export async function curl(args: string[], input?: Uint8Array): Promise<Buffer> {
  const child = spawn("curl", ["--silent", "--show-error", ...args]);
  child.stdin.end(input);
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  const [output, errors, code] = await Promise.all([buffer(child.stdout), text(child.stderr), ended]);
  if (code !== 0) throw new Error(`curl ${args.join(" ")} ended with ${code}: ${errors}`);
  return output;
}
