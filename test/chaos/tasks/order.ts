/** The promises about time and about several tasks: caps, times, keys, cancels, corrupted rows. */
import type { Finding } from "./checks.ts";
import { statusOf } from "./follow.ts";
import { type Execution, type History, isTerminal, retriesOf } from "./history.ts";
import { KINDS } from "./kinds.ts";

/** How late the witness may hear of a begin: the code had begun, and reported it, before. */
const HEARD_LATE_MS = 500;

export function checkCaps(history: History): Finding {
  const capped = KINDS.flatMap(({ name, cap }) => (cap === undefined ? [] : [{ name, cap }]));
  const measured = capped.map(({ name, cap }) => {
    const byKey = Map.groupBy(
      history.executions.filter(({ type }) => type === name),
      ({ key }) => key,
    );
    const all = [...byKey.values()].map(countMax).toSorted((a, b) => b.max - a.max);
    return { name, cap, ...(all[0] ?? { max: 0, ids: [] }) };
  });
  return {
    what: "no more tasks of a type, or of a key, at once than its cap",
    of: history.executions.filter(({ type }) => capped.some(({ name }) => name === type)).length,
    measured: measured.map(({ name, cap, max }) => `${max} of ${cap} ${name}`).join(", "),
    faults: measured.flatMap(({ name, cap, max, ids }) =>
      max > cap ? [`${name}: ${max} at once: ${ids.join(", ")}`] : [],
    ),
  };
}

/** Each execution certainly lasts from its begin to the last report about it. */
function countMax(executions: Execution[]): { max: number; ids: string[] } {
  let max: Execution[] = [];
  for (const { beganAtMs: atMs } of executions) {
    const alive = executions.filter(
      (other) => other.beganAtMs <= atMs && (other.end?.atMs ?? other.heardAtMs) > atMs,
    );
    if (alive.length > max.length) max = alive;
  }
  return { max: max.length, ids: max.map(({ taskId }) => taskId) };
}

export function checkTimes(history: History): Finding {
  // A task that is retried by hand starts at once.
  const timed = history.executions.filter(
    ({ notBeforeMs, taskId, type, beganAtMs }) =>
      notBeforeMs > 0 && !retriesOf(history, taskId, type).some(({ sentAtMs }) => sentAtMs < beganAtMs),
  );
  const early = timed.filter(({ beganAtMs, notBeforeMs }) => beganAtMs < notBeforeMs);
  return {
    what: "no task starts before its time",
    of: timed.length,
    measured: `${early.length} did, of ${timed.length} executions of tasks with a time`,
    faults: early.map(
      ({ taskId, type, beganAtMs, notBeforeMs }) => `${taskId} ${type}: ${notBeforeMs - beganAtMs} ms early`,
    ),
  };
}

export function checkKeys(history: History): Finding {
  const repeated = [...history.keys].filter(([, answers]) => answers.length > 1);
  const faults = repeated.filter(([, answers]) => new Set(answers).size > 1);
  return {
    what: "the same key gives the same task",
    of: repeated.length,
    measured: `${faults.length} did not, of ${repeated.length} with more than one response, ${history.keys.size} keys in all`,
    faults: faults.map(([key, answers]) => `${key}: ${answers.join(" and ")}`),
  };
}

export function checkCancels(history: History): Finding {
  const taken = history.cancels.filter(
    ({ became, httpStatus }) => httpStatus === 200 && (became === "cancelled" || became === "cancelling"),
  );
  const streams = new Map(history.streams.map((reading) => [reading.taskId, reading.events]));
  const faults = taken.flatMap(({ of: id, sentAtMs, answeredAtMs, became }) => {
    const task = history.tasks.get(id);
    if (!task || retriesOf(history, id, task.type).some((retry) => retry.sentAtMs > sentAtMs)) return [];
    const last = streams.get(id)?.findLast((event) => statusOf(event) === "cancelled");
    const endedAtMs = became === "cancelled" ? answeredAtMs : readTime(last?.data) + HEARD_LATE_MS;
    const begun = history.executions.filter(
      ({ taskId, beganAtMs }) => taskId === id && beganAtMs > endedAtMs,
    );
    return [
      ...(task.status === "cancelled" ? [] : [`${id} ${task.type}: was ${became}, and is ${task.status}`]),
      ...begun.map(
        (one) => `${id} ${task.type}: begins ${one.beganAtMs - endedAtMs} ms after it was ${became}`,
      ),
    ];
  });
  const atOnce = taken.filter(({ became }) => became === "cancelled").length;
  return {
    what: "a cancel is final",
    of: taken.length,
    measured: `${faults.length} are not, of ${taken.length}, ${atOnce} of which took effect at once`,
    faults,
  };
}

function readTime(data: string | undefined): number {
  const [, at] = /"at":"([^"]+)"/.exec(data ?? "") ?? [];
  return at === undefined ? Infinity : Date.parse(at);
}

export function checkSpoilt(history: History): Finding {
  const removed = new Set(history.deletions.map(({ of }) => of));
  const ids = [...new Set(history.spoilt.map(({ taskId }) => taskId))].filter((id) => !removed.has(id));
  const faults = [
    ...ids.flatMap((id) => {
      const status = history.tasks.get(id)?.status ?? "unreadable";
      const columns = history.spoilt
        .filter(({ taskId }) => taskId === id)
        .map((spoilt) => `${spoilt.column} while ${spoilt.status}`);
      return isTerminal(status) ? [] : [`${id}: ${columns.join(", ")}: is ${status}`];
    }),
    ...history.badPages,
  ];
  return {
    what: "a task with a corrupted row comes to an end, and hides no other",
    of: Math.min(ids.length, history.pages),
    measured: `${faults.length} faults, of ${ids.length} corrupted tasks and ${history.pages} pages of GET /tasks`,
    faults,
  };
}

export function checkAnswers(history: History): Finding {
  // A restart may cause a 503: it asks the caller to try again.
  const bad = [...history.answers].filter(([what]) => / 5\d\d$/.test(what) && !what.endsWith(" 503"));
  const sum = (some: [string, number][]) => some.reduce((total, [, count]) => total + count, 0);
  return {
    what: "no response of 500 or more, except 503",
    of: history.answers.size,
    measured: `${sum(bad)} of ${sum([...history.answers])}`,
    faults: bad.map(([what, count]) => `${count} × ${what}`),
  };
}
