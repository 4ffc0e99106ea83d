/** The memory of another process, in bytes, as Linux reports it; undefined on other systems. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";

export interface Memory {
  /** Resident now. */
  nowBytes: number;
  /** The maximum resident since the process began, or since `resetPeak`. */
  peakBytes: number;
}

export function readMemory(pid: number): Memory | undefined {
  if (process.platform !== "linux") return undefined;
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const field = (name: string) => Number(new RegExp(`^${name}:\\s*(\\d+) kB`, "m").exec(status)?.[1]) * 1024;
  return { nowBytes: field("VmRSS"), peakBytes: field("VmHWM") };
}

/** Sets the peak to what is resident now (proc_pid_clear_refs(5)). */
export function resetPeak(pid: number): void {
  if (process.platform === "linux") writeFileSync(`/proc/${pid}/clear_refs`, "5");
}

/** The children of this process whose program is `name`. */
export function findChildren(name: string): number[] {
  if (process.platform !== "linux") return [];
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => isChild(pid, name));
}

/** The format is: pid (program) state ppid … (proc_pid_stat(5)). */
function isChild(pid: number, name: string): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const [, program, parent] = /\((.*)\) \S (\d+)/s.exec(stat) ?? [];
    return program === name && Number(parent) === process.pid;
  } catch {
    return false; // it has ended since the folder was read
  }
}
