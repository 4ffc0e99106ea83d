/**
 * Which sleep of an earlier run a sleep continues.
 *
 * A sleep is recorded as a step, with the time at which it ends, so that a later run does not sleep again. If it has no
 * name, then sleeps may begin in another order in each run. So it is found by its length: a sleep of 15 s never ends at the
 * time of one of 60 s. Code that sleeps until a given time, or adds jitter, asks for another length in each run. Within an
 * attempt, in which code repeats itself, such a sleep continues the one that ends at the same time, or else the one that
 * is closest in length, if neither is twice the other. Otherwise it would begin anew in each run, and never end.
 */

/** No step that a task names itself begins with a space. */
const RECORD_NAME = /^ sleep (\d+)\.(\d+) (.+)$/;
/** Two ends that differ by less than this are the same: between two readings of the clock, some time passes. */
const SAME_END_MS = 1_000;

/** The step of a sleep that its code has named. Whatever the order and the length, it is found by that. */
export const namedSleep = (name: string): string => ` sleep: ${name}`;

interface RecordedSleep {
  name: string;
  attempt: number;
  /** Counts the sleeps of the attempt. */
  number: number;
  ms: number;
  wakeAtMs: number;
}

/**
 * Returns a function that gives the name of the step under which a sleep of `ms`, beginning at `nowMs`, is recorded or is
 * to be recorded. `steps`: what earlier runs have recorded, as JSON text by name.
 */
export function createSleepNames(
  attempt: number,
  steps: Readonly<Record<string, string>>,
): (ms: number, nowMs: number) => string {
  const all = Object.entries(steps).flatMap(readRecord).toSorted(byAge);
  const own = all.filter((sleep) => sleep.attempt === attempt);
  const taken = new Set<RecordedSleep>();
  let count = own.at(-1)?.number ?? 0;

  return (ms, nowMs) => {
    const found =
      all.find((sleep) => !taken.has(sleep) && sleep.ms === ms) ??
      closest(
        own.filter((sleep) => !taken.has(sleep)),
        ms,
        nowMs,
      );
    if (found === undefined) return ` sleep ${attempt}.${++count} ${ms}`;
    taken.add(found);
    return found.name;
  };
}

function readRecord([name, text]: [string, string]): RecordedSleep[] {
  const [, attempt, number, ms] = RECORD_NAME.exec(name) ?? [];
  if (ms === undefined) return [];
  return [{ name, attempt: Number(attempt), number: Number(number), ms: Number(ms), wakeAtMs: Number(text) }];
}

const byAge = (a: RecordedSleep, b: RecordedSleep) => a.attempt - b.attempt || a.number - b.number;

function closest(own: RecordedSleep[], ms: number, nowMs: number): RecordedSleep | undefined {
  const endsAlike = own.find(({ wakeAtMs }) => Math.abs(wakeAtMs - (nowMs + ms)) < SAME_END_MS);
  if (endsAlike) return endsAlike;
  const similar = own.filter((sleep) => sleep.ms < 2 * ms && ms < 2 * sleep.ms);
  return similar.toSorted((a, b) => Math.abs(a.ms - ms) - Math.abs(b.ms - ms))[0];
}
