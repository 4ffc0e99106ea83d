/** Judges each promise by the history. */
import type { Promised } from "../promised.ts";
import {
  checkExecutions,
  checkFollowed,
  checkNothingLost,
  checkOneEnd,
  checkSteps,
  checkSucceeded,
  type Finding,
} from "./checks.ts";
import { DAMAGES } from "./doctor.ts";
import { checkFlows } from "./flows.ts";
import { checkDebounced, checkUnique } from "./guarded.ts";
import type { History } from "./history.ts";
import { checkAnswers, checkCancels, checkCaps, checkKeys, checkSpoilt, checkTimes } from "./order.ts";
import { checkPauses } from "./pauses.ts";
import { checkRecovery } from "./recovery.ts";
import { checkSignals } from "./signals.ts";

type Check = (history: History) => Finding;

export const CHECKS: Check[] = [
  checkNothingLost,
  checkOneEnd,
  checkFollowed,
  checkExecutions,
  checkSucceeded,
  checkSteps,
  checkCaps,
  checkPauses,
  checkTimes,
  checkKeys,
  checkCancels,
  checkSpoilt,
  checkRecovery,
  checkAnswers,
  checkSignals,
  checkFlows,
  checkUnique,
  checkDebounced,
];

export interface Verdict extends Promised {
  faults: string[];
}

export const judge = (history: History, checks: Check[]): Verdict[] =>
  checks.map((check) => decide(check(history)));

const decide = ({ what, faults, of, measured }: Finding): Verdict => ({
  what,
  faults,
  measured,
  isKept: faults.length === 0 && of > 0,
});

/** Judges each promise by a history in which it is broken. It must not count as kept. */
export function judgeDoctored(history: History): Verdict[] {
  return CHECKS.map((check, i) => {
    const copy = structuredClone(history);
    const { what } = check(copy);
    try {
      DAMAGES[i]?.(copy);
    } catch (error) {
      return { what, isKept: true, measured: String(error), faults: [] };
    }
    return decide(check(copy));
  });
}
