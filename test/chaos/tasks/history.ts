/**
 * What has happened, as seen from outside Sluice. All of it is plain data, so that a copy can be falsified
 * (doctor.ts). Times are ms since the epoch, from one clock.
 */
import { z } from "zod";

const STATUSES = [
  "scheduled",
  "queued",
  "running",
  "cancelling",
  "succeeded",
  "failed",
  "cancelled",
] as const;
type Status = (typeof STATUSES)[number];

const TERMINAL: readonly string[] = ["succeeded", "failed", "cancelled"];
export const isTerminal = (status: string | undefined): boolean =>
  status !== undefined && TERMINAL.includes(status);

/** The part of a task that the checks use. */
export const taskSchema = z.object({
  id: z.string(),
  type: z.string(),
  status: z.enum(STATUSES),
  attempt: z.number(),
  crashes: z.number(),
  finishedAt: z.string().nullable(),
  error: z.object({ name: z.string(), message: z.string() }).nullable(),
  /** A list does not have these. */
  result: z.unknown().optional(),
  parent: z.string().optional(),
  children: z.array(z.object({ id: z.string(), type: z.string(), status: z.enum(STATUSES) })).optional(),
});
export type Task = z.output<typeof taskSchema>;

/** One run of a task's code, as it was reported to the witness. */
export interface Execution {
  id: string;
  taskId: string;
  type: string;
  attempt: number;
  life: number;
  notBeforeMs: number;
  /** "" if its type has none. */
  key: string;
  beganAtMs: number;
  /** When the witness last heard of it. */
  heardAtMs: number;
  end?: { atMs: number; outcome: "returned" | "threw" };
  /** The steps that ran, and those that were then recorded. */
  steps: { name: string; atMs: number }[];
  recorded: { name: string; atMs: number }[];
}

/** One life of the runtime, from its start to its end. */
export interface Life {
  upAtMs: number;
  /** Infinity until it ends. */
  endedAtMs: number;
  by: string;
}

/** A pause of a type: from the response to its PATCH, to the request that ended it. */
export interface Pause {
  type: string;
  fromMs: number;
  /** Infinity until then. */
  untilMs: number;
}

/** A task as a response showed it. */
interface Sighting {
  id: string;
  status: Status;
  askedAtMs: number;
  answeredAtMs: number;
}

/** A request to cancel, retry or delete a task. */
export interface Steering {
  /** The id of the task, or the name of a type for all of its dead letters. */
  of: string;
  sentAtMs: number;
  /** Infinity if there was no response. */
  answeredAtMs: number;
  httpStatus: number;
  /** The status of the task in the response. */
  became?: Status;
}

export interface TaskEvent {
  id: number;
  event: string;
  data: string;
}

/** The events of a task, as a reader received them. */
export interface Reading {
  taskId: string;
  events: TaskEvent[];
  connections: number;
  end: "whole" | "gone" | "incomplete";
}

export interface Spoilt {
  taskId: string;
  column: string;
  status: string;
}

export interface SentSignal {
  payload: string;
  /** Else it may have been sent, or not. */
  isAcknowledged: boolean;
}

/** What was submitted with `debounce`: `id` is that of the task that it became, if there was a response. */
export interface DebouncedSubmission {
  n: number;
  id?: string;
}

/** By unique key: its tasks. By the key of a debounce: what was submitted, in order. */
interface Guarded {
  unique: Map<string, Set<string>>;
  debounced: Map<string, DebouncedSubmission[]>;
  /** The number in the input of a debounced task, read at the end. */
  ranWith: Map<string, number>;
}

export interface History {
  /** The ids in responses of 202 and 200. */
  acknowledged: Set<string>;
  /** The type of each of them. */
  types: Map<string, string>;
  submissions: number;
  /** By key: every id that a response had. */
  keys: Map<string, string[]>;
  /** By task: what was sent to it, in this order. */
  signals: Map<string, SentSignal[]>;
  guarded: Guarded;
  sightings: Sighting[];
  cancels: Steering[];
  retries: Steering[];
  deletions: Steering[];
  pauses: Pause[];
  followed: Reading[];
  lives: Life[];
  /** What was done and when, and to which task if only one was hit. */
  blows: { is: string; atMs: number; taskId?: string }[];
  spoilt: Spoilt[];
  executions: Execution[];
  /** How many pages of GET /tasks were requested, and what went wrong with them. */
  pages: number;
  badPages: string[];
  /** The number of responses by method, path and status. */
  answers: Map<string, number>;
  /** Read at the end. */
  tasks: Map<string, Task>;
  /** The ids on all pages of GET /tasks. */
  listed: string[];
  streams: Reading[];
  settledInMs: number;
  tookMs: number;
}

export const emptyHistory = (): History => ({
  acknowledged: new Set(),
  types: new Map(),
  submissions: 0,
  keys: new Map(),
  signals: new Map(),
  guarded: { unique: new Map(), debounced: new Map(), ranWith: new Map() },
  sightings: [],
  cancels: [],
  retries: [],
  deletions: [],
  pauses: [],
  followed: [],
  lives: [],
  blows: [],
  spoilt: [],
  executions: [],
  pages: 0,
  badPages: [],
  answers: new Map(),
  tasks: new Map(),
  listed: [],
  streams: [],
  settledInMs: 0,
  tookMs: 0,
});

/** The requests to retry the task: by itself, with all of its type, or with its parent. */
export function retriesOf(history: History, taskId: string, type: string | undefined): Steering[] {
  const names = new Set<string | undefined>([taskId, type]);
  for (let { parent } = history.tasks.get(taskId) ?? {}; parent; parent = history.tasks.get(parent)?.parent)
    names.add(parent);
  return history.retries.filter(({ of }) => names.has(of));
}
