/** What must have become of each task, by its plan. */
import { isDeepStrictEqual } from "node:util";
import type { Promised } from "../promised.ts";
import { type Plan, planOf } from "./plan.ts";

export interface Ended {
  number: number;
  task: {
    id: string;
    status: string;
    attempt: number;
    crashes: number;
    result: unknown;
    error: { name: string; message: string } | null;
    progress: { ratio: number; message: string | null } | null;
  };
}

export interface Outcome {
  seed: number;
  ended: Ended[];
  /** How often each task has written its last line. */
  told: Map<string, number>;
  /** The tasks of which a part was at work after the end of its run. */
  leftovers: Set<string>;
  /** Lines that are no JSON, or too long. */
  badLines: string[];
}

export interface Verdict extends Promised {
  faults: string[];
}

type Check = (plan: Plan, ended: Ended["task"]) => string | undefined;
const NOT_FOR_THIS = "not for this task";

const MAX_NAME_LENGTH = 200;
const MAX_MESSAGE_LENGTH = 2_000;

/** One promise about each task. */
const CHECKS: [what: string, check: Check][] = [
  [
    "no task ends as a crash, and every attempt has a reason",
    ({ step, ending }, { status, attempt, crashes, error }) => {
      if (crashes > 0 || error?.name === "Crashed") return `${crashes} crashes`;
      if (status !== "succeeded" && status !== "failed") return `it is ${status}`;
      // A step that is kept fails the first attempt on purpose. One that is refused fails both.
      const isOnce = step ? step.isKept && !step.result.json : ending.by !== "throw";
      const expected = isOnce ? 1 : 2;
      return attempt === expected ? undefined : `${attempt} attempts, not ${expected}`;
    },
  ],
  [
    "an error says what was thrown, in text that can be kept",
    ({ step, ending }, { status, error }) => {
      if (step || ending.by === "return") return NOT_FOR_THIS;
      if (status !== "failed" || !error) return `it is ${status}`;
      const { name, message } = error;
      if (name === "" || name.length > MAX_NAME_LENGTH || message.length > MAX_MESSAGE_LENGTH)
        return "it is too long";
      if (!name.isWellFormed() || !message.isWellFormed()) return "it has half a character";
      if (message.includes("[object Object]")) return `it says ${message}`;
      const { says, value } = ending.made;
      // As the message of an error, an object is shown as JSON. Without a message, the error itself is.
      const isShown = ending.by === "refuse" && (typeof value === "object" || value === undefined);
      return says === undefined || isShown || message === says
        ? undefined
        : `it says ${JSON.stringify(message)}, not ${says}`;
    },
  ],
  [
    "a result is what JSON keeps of it, or a failure that names the place",
    ({ step, ending: { by, made } }, { status, result, error }) => {
      if (step || by !== "return") return NOT_FOR_THIS;
      if (made.json) return isSame(result, made.json.form) ? undefined : `it is ${JSON.stringify(result)}`;
      const isNamed = status === "failed" && (error?.message.startsWith("result") ?? false);
      return isNamed ? undefined : `it is ${status}, ${JSON.stringify(result)}, ${error?.message}`;
    },
  ],
  [
    "a step gives the same value at once and after a replay, or fails and names the place",
    ({ step }, { status, result, error }) => {
      if (!step?.isKept) return NOT_FOR_THIS;
      const { json } = step.result;
      if (!json) {
        const isNamed = status === "failed" && /^step ".*": result/s.test(error?.message ?? "");
        return isNamed ? undefined : `it is ${status}, ${JSON.stringify(result)}, ${error?.message}`;
      }
      const text = JSON.stringify(json.form);
      return isSame(result, { first: text, replay: text })
        ? undefined
        : `it is ${JSON.stringify(result)}, not ${text}`;
    },
  ],
  [
    "a step whose name cannot be kept is refused",
    ({ step }, { status, error }) => {
      if (!step || step.isKept) return NOT_FOR_THIS;
      const isRefused =
        status === "failed" && error?.name === "RangeError" && error.message.includes("name of a step");
      return isRefused ? undefined : `it is ${status}, ${error?.message}`;
    },
  ],
  [
    "progress is from 0 to 1, with text that can be kept",
    ({ tellings }, { progress }) => {
      if (!tellings.some(({ by }) => by === "progress")) return NOT_FOR_THIS;
      if (!progress) return "it was not kept";
      const { ratio, message } = progress;
      const isText =
        message === null || (message.isWellFormed() && message.length <= 500 && !message.includes("\0"));
      return ratio >= 0 && ratio <= 1 && isText ? undefined : `it is ${JSON.stringify(progress)}`;
    },
  ],
];

/** JSON text has no order of members. */
const isSame = (value: unknown, form: unknown) => isDeepStrictEqual(value, JSON.parse(JSON.stringify(form)));

export function judge(outcome: Outcome): Verdict[] {
  return [
    ...CHECKS.map(([what, check]) => judgeEach(outcome, what, check)),
    judgeLines(outcome),
    judgeLeftovers(outcome),
  ];
}

function judgeEach({ seed, ended }: Outcome, what: string, check: Check): Verdict {
  const results = ended.map(({ number, task }) => {
    const plan = planOf(seed, number);
    return { number, plan, fault: check(plan, task) };
  });
  const concerned = results.filter(({ fault }) => fault !== NOT_FOR_THIS);
  const faults = concerned.flatMap(({ number, plan, fault }) =>
    fault === undefined ? [] : [`${number} (${describe(plan)}): ${fault}`.slice(0, 500)],
  );
  const isKept = faults.length === 0 && concerned.length > 0;
  return { what, isKept, measured: `${faults.length} faults in ${concerned.length} tasks`, faults };
}

function judgeLines({ ended, told, badLines }: Outcome): Verdict {
  const silent = ended.filter(({ task }) => (told.get(task.id) ?? 0) < task.attempt);
  const faults = [...silent.map(({ number }) => `${number} has not told all`), ...badLines];
  return {
    what: "whatever is told, work goes on, and each line of the log is JSON of at most 100 KB",
    isKept: faults.length === 0 && ended.length > 0,
    measured: `${silent.length} of ${ended.length} tasks told less, ${badLines.length} bad lines`,
    faults,
  };
}

function judgeLeftovers({ seed, ended, leftovers }: Outcome): Verdict {
  const concerned = ended.filter(({ number }) => planOf(seed, number).hasLeftover);
  return {
    what: "what is left of the code after the end of its run begins nothing",
    isKept: leftovers.size === 0 && concerned.length > 0,
    measured: `${leftovers.size} of ${concerned.length} tasks went on`,
    faults: [...leftovers],
  };
}

const describe = ({ step, ending: { by, made } }: Plan) =>
  step ? `step ${typeof step.name} → ${step.result.kind}` : `${by} ${made.kind}`;
