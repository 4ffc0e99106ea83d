/** Who is measured: a program that does the work of the four examples, running on this machine. */

/** How many calls the upstream takes at once. */
export const CONCURRENCY = 5;

export interface Server {
  /** Without a slash at the end. */
  url: string;
  /** The process whose memory counts; undefined where it cannot be found out. */
  pid: number | undefined;
}

export interface Contender extends AsyncDisposable {
  name: string;
  /** Answers /run-tasks and /data. */
  server: Server;
  /** Answers /upload-file; may be the same one. */
  uploads: Server;
  /** How many background tasks have finished so far, by its own log. */
  finishedTasks: () => number;
}

/** Counts the lines that background tasks log at their end. */
export function countFinished(): { onLine: (line: string) => void; count: () => number } {
  let finished = 0;
  return {
    onLine: (line) => {
      if (/Task [AB] completed\./.test(line)) finished++;
    },
    count: () => finished,
  };
}
