/** The CPU time of another process, as Linux reports it. */
import { readFileSync } from "node:fs";

/** Of a tick, in which the kernel counts for programs (sysconf(3), USER_HZ). */
const TICK_MS = 10;

/** What it has used so far, with that of the system for it; NaN on other systems. The file's format: proc_pid_stat(5). */
export function readCpuMs(pid: number | undefined): number {
  if (pid === undefined || process.platform !== "linux") return Number.NaN;
  const fields = /\) (.*)/s.exec(readFileSync(`/proc/${pid}/stat`, "utf8"))?.[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}
