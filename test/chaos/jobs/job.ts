/** A job of the chaos: what is submitted, and what must have become of it. */
import { isDeepStrictEqual } from "node:util";
import type { Api } from "./api.ts";
import type { Sources } from "./sources.ts";

/** What was found out about a job that has ended. */
export interface Finding {
  /** What is not as it should be: sentences. */
  wrong: string[];
  /** The ids of the files that it has made. */
  made: string[];
  /** What its file lists, and how often each must be there: once. */
  listed: string[];
}

/** What a check may look at. */
export interface Look {
  api: Api;
  sources: Sources;
  taskId: string;
}

export interface Job {
  /** The task type, and perhaps what is special about this job of it. */
  kind: string;
  type: string;
  input: Record<string, unknown>;
  /** Throws if the result is not even as it should be in its form. */
  check: (result: unknown, look: Look) => Promise<Finding>;
  /** The jobs that follow it. */
  then?: Job[];
}

export const finding = (
  wrong: string[],
  { made = [], listed = [] }: Partial<Omit<Finding, "wrong">> = {},
): Finding => ({ wrong, made, listed });

/** A sentence if they differ. */
export const differ = (what: string, got: unknown, expected: unknown): string[] =>
  isDeepStrictEqual(got, expected) ? [] : [`${what} is ${describe(got)} instead of ${describe(expected)}`];

const describe = (value: unknown) => (JSON.stringify(value) ?? "undefined").slice(0, 200);
