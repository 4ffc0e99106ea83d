/** The events of a task, in words, and by attempt. */

export interface TaskEvent {
  /** Its number in the history. */
  id: string;
  name: "status" | "progress" | "step" | "signal";
  at: string;
  data: {
    status: string;
    attempt: number;
    reason?: string;
    error?: { name: string; message: string };
    /** Of a scheduled task: when it will be queued. */
    runAt?: string;
    step?: string;
    /** Of a task that ended its run to wait: the names of the signals. */
    waitingFor?: string[];
    signal?: string;
    timedOut?: boolean;
    ratio?: number;
    message?: string | null;
  };
}

const NAMES: readonly string[] = ["status", "progress", "step", "signal"] satisfies TaskEvent["name"][];
const isName = (name: string): name is TaskEvent["name"] => NAMES.includes(name);

/** The events in the text of an event stream (WHATWG HTML §9.2), as Sluice writes it. */
export function eventsIn(text: string): TaskEvent[] {
  return text.split("\n\n").flatMap((block) => {
    const fields = new Map(
      block
        .split("\n")
        .map((line) => [line.slice(0, line.indexOf(": ")), line.slice(line.indexOf(": ") + 2)]),
    );
    const name = fields.get("event") ?? "";
    if (!isName(name)) return [];
    const { at, ...data }: { at: string } & TaskEvent["data"] = JSON.parse(fields.get("data") ?? "");
    return [{ id: fields.get("id") ?? "", name, at, data }];
  });
}

/** What a task is doing between two events. A failed attempt that is tried again is no failed task. */
export type Phase = "waiting" | "retrying" | "running" | "cancelling" | "succeeded" | "failed" | "cancelled";

/** The events of one attempt; 0 for those before the first. */
export interface AttemptEvents {
  attempt: number;
  events: readonly TaskEvent[];
}

export function phaseOf({ data: { status, error } }: TaskEvent): Phase {
  switch (status) {
    case "running":
    case "cancelling":
    case "succeeded":
    case "failed":
    case "cancelled":
      return status;
    default:
      return error === undefined ? "waiting" : "retrying";
  }
}

const REASONS: Record<string, string> = {
  "handed-over": "handed over to another run",
  crashed: "crashed, and runs again",
  woken: "has what it waited for",
  "not-begun": "its runner could not begin, and is tried again",
};

/** What happened, without when. */
export function describeEvent({ name, data }: TaskEvent): string {
  const { status, error, reason, step, ratio = 0, message, waitingFor, signal = "", timedOut } = data;
  if (name === "step") return describeStep(step ?? "");
  if (name === "signal") return timedOut ? `no signal “${signal}” in time` : `signal “${signal}” sent`;
  if (name === "progress") return `${Math.round(ratio * 100)} %${message ? `, ${message}` : ""}`;
  const why = error ? `: ${error.name}: ${error.message}` : "";
  if (status === "failed") return `failed for good${why}`;
  if (error) return `attempt failed${why}`;
  if (waitingFor) return `waits for ${waitingFor.map(describeWait).join(", ")}`;
  if (reason !== undefined) return REASONS[reason] ?? reason;
  return status === "cancelling" ? "asked to stop" : status;
}

/** Steps of Sluice itself begin with a space. */
function describeStep(step: string): string {
  if (!step.startsWith(" ")) return `step “${step}” recorded`;
  if (step.startsWith(" start ")) return "children started";
  const [, sleep] = /^ sleep: (.*)$/.exec(step) ?? [];
  return sleep === undefined ? "sleep begun" : `sleep “${sleep}” begun`;
}

const describeWait = (name: string): string => (isForChildren(name) ? "its children" : `“${name}”`);
/** What a task waits for is the name of a signal, or this. */
const isForChildren = (name: string): boolean => name === "tasks";

/** How a time is told at which a scheduled task goes on; undefined if it waits for its children, however long they take. */
export function describeNext({ data: { waitingFor } }: TaskEvent): string | undefined {
  if (!waitingFor) return "goes on in";
  return waitingFor.some(isForChildren) ? undefined : "for at most";
}

/**
 * The events by attempt, in order. A task that is retried by hand counts its attempts anew, so a number can occur again.
 */
export function byAttempt(events: readonly TaskEvent[]): AttemptEvents[] {
  const groups: { attempt: number; events: TaskEvent[] }[] = [];
  for (const event of events) {
    const last = groups.at(-1);
    if (last?.attempt === event.data.attempt) last.events.push(event);
    else groups.push({ attempt: event.data.attempt, events: [event] });
  }
  return groups;
}

/** A time during which a task was in one phase. */
export interface Stretch {
  phase: Phase;
  fromMs: number;
  toMs: number;
}

/** What the task was doing from its first event until now, or until it ended. */
export function stretchesOf(events: readonly TaskEvent[], nowMs: number): Stretch[] {
  const stretches: Stretch[] = [];
  for (const event of events.filter(({ name }) => name === "status")) {
    const atMs = Date.parse(event.at);
    const last = stretches.at(-1);
    if (last) last.toMs = atMs;
    stretches.push({ phase: phaseOf(event), fromMs: atMs, toMs: atMs });
  }
  const last = stretches.at(-1);
  if (last && !["succeeded", "failed", "cancelled"].includes(last.phase))
    last.toMs = Math.max(last.toMs, nowMs);
  return stretches.filter(({ fromMs, toMs }) => toMs > fromMs);
}

/** How often something happened, in words; what did not happen is left out. */
export function countEvents(events: readonly TaskEvent[]): string {
  const count = (test: (event: TaskEvent) => boolean) => events.filter(test).length;
  const counts: [number, string][] = [
    [count(({ name, data }) => name === "status" && data.status === "running"), "run"],
    [count(({ data }) => data.reason === "handed-over" && !data.waitingFor), "hand-over"],
    [count(({ data }) => data.waitingFor !== undefined), "wait"],
    [count(({ data }) => data.reason === "crashed"), "crash"],
    [count(({ name }) => name === "step"), "step"],
  ];
  return counts
    .filter(([number]) => number > 0)
    .map(([number, word]) => `${number} ${number === 1 ? word : word === "crash" ? "crashes" : `${word}s`}`)
    .join(", ");
}
