/** The first control: for each promise, a history in which it is broken. A check that does not notice shows nothing. */
import type { Check } from "./checks.ts";
import type { Ended, History } from "./history.ts";

const firstWith = ({ ended }: History, has: (job: Ended) => boolean): Ended => the(ended.find(has));

/** Each changes the given history. */
export const DAMAGES: Record<Check, (history: History) => void> = {
  checkCuts: (history) => {
    for (const job of history.ended) job.cuts = 0;
  },
  checkEnds: (history) => {
    the(history.ended[0]).status = "failed";
  },
  checkResults: (history) => {
    the(history.ended[0]).wrong.push("the digest is another");
  },
  checkLists: (history) => {
    const { listed } = firstWith(history, (job) => job.listed.length > 0);
    listed.push(the(listed[0]));
  },
  checkFiles: (history) => {
    history.files.push(`${the(history.ended[0]).taskId}.gz`);
  },
  checkLeftovers: (history) => {
    history.disk.drafts.push(`${the(history.ended[0]).taskId}.gz`);
  },
  checkWebhooks: (history) => {
    repeat(history, "webhook");
  },
  checkCalls: (history) => {
    repeat(history, "order");
  },
  checkFollowUps: (history) => {
    firstWith(history, ({ wanted }) => wanted > 0).followUps++;
  },
};

/** A call is made once more, with another key. */
function repeat({ received }: History, kind: string): void {
  received.push({ ...the(received.find((one) => one.kind === kind)), key: "another" });
}

function the<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("The history has nothing that could be falsified.");
  return value;
}
