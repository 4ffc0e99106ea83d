/**
 * What a task's code has under way through its context, and when a long sleep ends the run.
 *
 * A task that sleeps for long should occupy no slot: its run ends, and another one continues after the sleep. But a run
 * that ends cuts off whatever goes on beside the sleep. So it ends only when nothing else of the context is under way,
 * no step and no short sleep. A step that contains the sleep is under way as well.
 *
 * A sleep that nothing was ever beside is all that its code can wait for, and ends the run at once. A sleep that had
 * company may have lost a race, and its code may have gone on to work of which the context knows nothing (a `fetch`). So
 * that run ends only after a while without any call on the context.
 */

/** A longer sleep ends the run, so that the task occupies no slot while it sleeps. */
export const MAX_IN_PLACE_SLEEP_MS = 10_000;
/** How long a run waits for another call on its context before a sleep that had company ends it. */
const IDLE_MS = 10_000;

export interface Activity {
  /** Counts `work` as under way until it settles. */
  track: <T>(work: () => Promise<T>) => Promise<T>;
  /** Sleeps. `record` returns when the sleep ends, and `sleepUntil` waits for that time. */
  trackSleep: (record: () => Promise<number>, sleepUntil: (timeMs: number) => Promise<void>) => Promise<void>;
  /** A call on the context that is over at once. It shows that the code is at work. */
  touch: () => void;
  /**
   * From now on, no sleep ends the run. As soon as nothing but long sleeps is under way, calls `end`, before the code can
   * continue, and resolves.
   */
  settle: (end: () => void) => Promise<void>;
}

interface Sleep {
  wakeAtMs: number;
  hadCompany: boolean;
}

/** `handOver` is called, at most once, when only long sleeps are left. `wakeAtMs` is when the first of them ends. */
export function createActivity(handOver: (wakeAtMs: number) => void): Activity {
  const sleeps = new Set<Sleep>();
  /** How many steps, short sleeps and sleeps that are being recorded. */
  let underWay = 0;
  let isSettling = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let onIdle: (() => void) | undefined;

  const onTimer = () => {
    const wakeAtMs = Math.min(...[...sleeps].map((sleep) => sleep.wakeAtMs));
    // By now, the rest of a sleep may be short.
    if (wakeAtMs - Date.now() <= MAX_IN_PLACE_SLEEP_MS) return;
    isSettling = true;
    handOver(wakeAtMs);
  };
  const review = () => {
    clearTimeout(timer);
    if (underWay === 0) onIdle?.();
    if (isSettling || underWay > 0 || sleeps.size === 0) return;
    // Even at once is not now: the code may be about to begin something else.
    timer = setTimeout(onTimer, [...sleeps].some(({ hadCompany }) => hadCompany) ? IDLE_MS : 0);
  };
  const touch = () => {
    for (const sleep of sleeps) sleep.hadCompany = true;
    review();
  };
  const count = async <T>(work: () => Promise<T>): Promise<T> => {
    underWay++;
    review();
    try {
      return await work();
    } finally {
      underWay--;
      review();
    }
  };

  return {
    touch,
    async track(work) {
      touch();
      return count(work);
    },
    async trackSleep(record, sleepUntil) {
      touch();
      const sleep: Sleep = { wakeAtMs: Infinity, hadCompany: underWay > 0 || sleeps.size > 0 };
      sleeps.add(sleep);
      try {
        sleep.wakeAtMs = await count(record);
        const isShort = sleep.wakeAtMs - Date.now() <= MAX_IN_PLACE_SLEEP_MS;
        const wait = async () => sleepUntil(sleep.wakeAtMs);
        await (isShort ? count(wait) : wait());
      } finally {
        sleeps.delete(sleep);
        review();
      }
    },
    async settle(end) {
      isSettling = true;
      clearTimeout(timer);
      if (underWay > 0)
        await new Promise<void>((resolve) => {
          onIdle = () => {
            end();
            resolve();
          };
        });
      else end();
    },
  };
}
