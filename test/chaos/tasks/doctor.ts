/**
 * The negative control: for each promise, a copy of the history in which that promise is broken. A check that does
 * not notice proves nothing.
 */
import type { History } from "./history.ts";
import { KINDS, kindOf } from "./kinds.ts";
import { beginsIn } from "./pauses.ts";
import { findRecoveries } from "./recovery.ts";

/** Each changes the given history. Their order is that of the promises (verdict.ts). */
export const DAMAGES: ((history: History) => void)[] = [
  // An acknowledged task does not exist.
  (history) => {
    const removed = new Set(history.deletions.map(({ of }) => of));
    history.tasks.delete(
      the([...history.acknowledged].find((id) => history.tasks.has(id) && !removed.has(id))),
    );
  },
  // An event is missing in the middle.
  (history) => {
    the(history.streams.find(({ events }) => events.length > 2)).events.splice(1, 1);
  },
  // A reader got an event twice when it reconnected.
  (history) => {
    const streams = new Set(history.streams.map(({ taskId }) => taskId));
    const { events } = the(
      history.followed.find(({ taskId, end }) => end === "whole" && streams.has(taskId)),
    );
    events.push(the(events.at(-1)));
  },
  // A task was executed once more than allowed.
  (history) => {
    const one = the(
      history.executions.find(({ taskId, type }) => history.tasks.has(taskId) && kindOf(type)?.retries === 0),
    );
    const { events } = the(history.streams.find(({ taskId }) => taskId === one.taskId));
    for (let i = 0; i < events.length + 2; i++) history.executions.push({ ...one, beganAtMs: Date.now() });
  },
  // A task has succeeded although the witness saw no end of it.
  (history) => {
    const { id } = the([...history.tasks.values()].find(({ status }) => status === "succeeded"));
    history.executions = history.executions.filter(({ taskId }) => taskId !== id);
  },
  // A step was repeated after it was recorded.
  (history) => {
    const spoilt = new Set(history.spoilt.map(({ taskId }) => taskId));
    const one = the(
      history.executions.find(({ taskId, recorded }) => recorded.length > 0 && !spoilt.has(taskId)),
    );
    one.steps.push({ ...the(one.recorded[0]), atMs: Date.now() });
  },
  // One more task at once than the cap.
  (history) => {
    const { name, cap = 0 } = the(KINDS.find((kind) => kind.cap !== undefined));
    const one = the(history.executions.find(({ type, end }) => type === name && end !== undefined));
    for (let i = 0; i < cap; i++) history.executions.push({ ...one });
  },
  // A task began while its type was paused.
  (history) => {
    const spoilt = new Set(history.spoilt.map(({ taskId }) => taskId));
    const { id, type } = the(
      [...history.tasks.values()].find((task) => task.attempt === 1 && !spoilt.has(task.id)),
    );
    const { events } = the(history.streams.find(({ taskId }) => taskId === id));
    const { atMs } = the(beginsIn(events)[0]);
    history.pauses.push({ type, fromMs: atMs - 1, untilMs: atMs + 1 });
  },
  // A task with a time started a millisecond early.
  (history) => {
    const one = the(history.executions.find(({ notBeforeMs }) => notBeforeMs > 0));
    one.beganAtMs = one.notBeforeMs - 1;
    history.retries = [];
  },
  // A key had two different ids.
  (history) => {
    the([...history.keys.values()].find((answers) => answers.length > 1)).push("s0-another");
  },
  // A cancelled task has succeeded even so.
  (history) => {
    const retried = new Set(history.retries.map(({ of }) => of));
    const { of: id } = the(
      history.cancels.find(
        ({ of, became }) =>
          became !== undefined && !retried.has(of) && history.tasks.get(of)?.status === "cancelled",
      ),
    );
    the(history.tasks.get(id)).status = "succeeded";
  },
  // A corrupted task is stuck.
  (history) => {
    const { taskId } = the(history.spoilt.find((spoilt) => history.tasks.has(spoilt.taskId)));
    the(history.tasks.get(taskId)).status = "running";
  },
  // Recovery took half a minute more.
  (history) => {
    const recovered = new Set(findRecoveries(history).map(({ taskId }) => taskId));
    const lastUpAtMs = the(history.lives.at(-1)).upAtMs;
    for (const execution of history.executions) {
      if (recovered.has(execution.taskId) && execution.life > 0)
        execution.beganAtMs = Math.max(execution.beganAtMs, lastUpAtMs) + 60_000;
    }
    the(history.lives.at(-1)).endedAtMs = Infinity;
  },
  // An internal error.
  (history) => {
    history.answers.set("GET /tasks 500", 1);
  },
  // A signal was received twice.
  (history) => {
    const spoilt = new Set(history.spoilt.map(({ taskId }) => taskId));
    const [, sent] = the(
      [...history.signals].find(([id]) => history.tasks.get(id)?.status === "succeeded" && !spoilt.has(id)),
    );
    the(sent[1]).payload = the(sent[0]).payload;
  },
  // A parent goes on without the end of its last child.
  (history) => {
    const spoilt = new Set(history.spoilt.map(({ taskId }) => taskId));
    const parent = the(
      [...history.tasks.values()].find(
        ({ id, status, children }) => children !== undefined && status === "succeeded" && !spoilt.has(id),
      ),
    );
    parent.result = { ends: [] };
  },
  // Another task of a unique key was at work meanwhile.
  (history) => {
    const ids = [...history.guarded.unique.values()].find(
      (those) => history.executions.filter(({ taskId }) => those.has(taskId)).length > 0,
    );
    const one = the(
      history.executions.find(
        ({ taskId, heardAtMs, beganAtMs }) => the(ids).has(taskId) && heardAtMs > beganAtMs,
      ),
    );
    the(ids).add("s0-another");
    history.executions.push({ ...one, taskId: "s0-another", beganAtMs: one.beganAtMs + 0.5 });
  },
  // A debounced task ran with what was submitted before the last.
  (history) => {
    const [id] = the([...history.guarded.ranWith][0]);
    history.guarded.ranWith.set(id, -1);
  },
];

function the<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("The history has nothing that could be falsified.");
  return value;
}
