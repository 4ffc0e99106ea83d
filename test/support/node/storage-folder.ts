/**
 * Where a run of the tests stores what it stores: in memory, in a folder of its own.
 *
 * The folder's name ends with the id of the process, so a run that was killed is known by it: its folder is removed by
 * the next run, and that of a process that lives is not touched.
 */
import { mkdirSync, readdirSync, rmSync, statfsSync } from "node:fs";
import { join } from "node:path";

/** Linux has a file system in memory. */
export const MEMORY_FOLDER = "/dev/shm";
const MIN_FREE_BYTES = 4 * 1024 ** 3;
const NAME = /^sluice-tests-(\d+)$/;

/**
 * Makes the folder of this process in `parent`, which lasts as long as the process. Returns undefined where `parent` has
 * less than 4 GiB free, or does not exist.
 */
export function makeStorageFolder(parent: string): string | undefined {
  if (freeBytes(parent) < MIN_FREE_BYTES) return undefined;
  removeLeftovers(parent);
  const path = join(parent, `sluice-tests-${process.pid}`);
  mkdirSync(path, { recursive: true });
  process.once("exit", () => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Removes the folders of processes that are no more. */
export function removeLeftovers(parent: string): void {
  for (const name of readdirSync(parent)) {
    const pid = Number(NAME.exec(name)?.[1] ?? process.pid);
    if (!lives(pid)) rmSync(join(parent, name), { recursive: true, force: true });
  }
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // It lives, but belongs to somebody else.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function freeBytes(folder: string): number {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  } catch {
    return 0;
  }
}
