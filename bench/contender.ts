/** A contender: a running program that is measured doing the work of the four examples. */

/** How many calls the upstream accepts at once. */
export const CONCURRENCY = 5;

export interface Server {
  /** Without a slash at the end. */
  url: string;
  /** The process whose memory counts; undefined where it is unknown. */
  pid: number | undefined;
}

export interface Contender extends AsyncDisposable {
  name: string;
  /** Serves /run-tasks and /data. */
  server: Server;
  /** Serves /upload-file; may be the same server. */
  uploads: Server;
  /** How many background tasks have finished so far, according to its log. */
  finishedTasks: () => number;
}

/** Counts the lines that background tasks log when they finish. */
export function countFinished(): { onLine: (line: string) => void; count: () => number } {
  let finished = 0;
  return {
    onLine: (line) => {
      if (/Task [AB] completed\./.test(line)) finished++;
    },
    count: () => finished,
  };
}
