/**
 * What has happened, as those outside of Sluice have seen it. All of it is plain data, so that a copy of it can be
 * doctored (doctor.ts). Times are ms since the epoch, from one clock.
 */
import { z } from "zod";

export const STATUSES = [
  "scheduled",
  "queued",
  "running",
  "cancelling",
  "succeeded",
  "failed",
  "cancelled",
] as const;
export type Status = (typeof STATUSES)[number];

const TERMINAL: readonly string[] = ["succeeded", "failed", "cancelled"];
export const isTerminal = (status: string | undefined): boolean =>
  status !== undefined && TERMINAL.includes(status);

/** The part of a Task that is looked at. */
export const taskSchema = z.object({
  id: z.string(),
  type: z.string(),
  status: z.enum(STATUSES),
  attempt: z.number(),
  crashes: z.number(),
  finishedAt: z.string().nullable(),
  error: z.object({ name: z.string(), message: z.string() }).nullable(),
});
export type Task = z.output<typeof taskSchema>;

/** One run of a task's code, as the witness heard of it. */
export interface Execution {
  id: string;
  taskId: string;
  type: string;
  attempt: number;
  life: number;
  notBeforeMs: number;
  beganAtMs: number;
  /** The last that was heard of it. */
  heardAtMs: number;
  end?: { atMs: number; outcome: "returned" | "threw" };
  /** What the steps did, and which of them were told to be recorded. */
  steps: { name: string; atMs: number }[];
  recorded: { name: string; atMs: number }[];
}

/** The runtime, from being up to its end. */
export interface Life {
  upAtMs: number;
  /** Infinity while it lasts. */
  endedAtMs: number;
  by: string;
}

/** A Task as an answer told of it. */
export interface Sighting {
  id: string;
  status: Status;
  askedAtMs: number;
  answeredAtMs: number;
}

/** A request to cancel, retry or delete a task. */
export interface Steering {
  /** The id of the task, or the name of its type if all that failed are meant. */
  of: string;
  sentAtMs: number;
  /** Infinity: no answer has come. */
  answeredAtMs: number;
  httpStatus: number;
  /** What the answer said the task is now. */
  became?: Status;
}

export interface TaskEvent {
  id: number;
  event: string;
  data: string;
}

/** The events of a task, as somebody read them. */
export interface Reading {
  taskId: string;
  events: TaskEvent[];
  connections: number;
  end: "whole" | "gone" | "given up";
}

export interface Spoilt {
  taskId: string;
  column: string;
  status: string;
}

export interface History {
  /** Ids that a 202 or 200 told of. */
  acknowledged: Set<string>;
  submissions: number;
  /** By key: every id that was ever answered. */
  keys: Map<string, string[]>;
  sightings: Sighting[];
  cancels: Steering[];
  retries: Steering[];
  deletions: Steering[];
  followed: Reading[];
  lives: Life[];
  /** What was done, when, and to which task alone, if there is one. */
  blows: { is: string; atMs: number; taskId?: string }[];
  spoilt: Spoilt[];
  executions: Execution[];
  /** Pages of GET /tasks that were asked for, and what went wrong with them. */
  pages: number;
  badPages: string[];
  /** Answers by method, path and status. */
  answers: Map<string, number>;
  /** Read when all has settled. */
  tasks: Map<string, Task>;
  /** The ids on all pages of GET /tasks. */
  listed: string[];
  streams: Reading[];
  settledInMs: number;
  tookMs: number;
}

export const emptyHistory = (): History => ({
  acknowledged: new Set(),
  submissions: 0,
  keys: new Map(),
  sightings: [],
  cancels: [],
  retries: [],
  deletions: [],
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

/** When somebody asked for the task to be retried, by itself or with all of its type. */
export function retriesOf(history: History, taskId: string, type: string | undefined): Steering[] {
  return history.retries.filter(({ of }) => of === taskId || of === type);
}
