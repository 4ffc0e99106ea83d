/**
 * A task that a caller describes as JSON text in a place that is not the body of POST /tasks: `?task=` of an upload. It has the
 * members that a follow-up has. Its input is no template, and gets members of its own when it starts.
 */
import { Problem } from "../../kernel/problem.ts";
import { checkAvailable } from "../types/availability.ts";
import { checkCallbackUrl } from "../types/callbacks.ts";
import type { Start, StartNext } from "../types/define.ts";
import {
  type FieldError,
  type FollowUp,
  followUpErrors,
  followUpSchema,
  knownIssues,
  noSuchType,
  readFollowUps,
  typesOf,
} from "../types/follow-ups.ts";
import { parseInput } from "../types/input.ts";
import { findOpenTaskType } from "../types/registry.ts";

/**
 * Reads and checks a description. `at`: its place in the request. `added`: the members that its input gets; their values may
 * still change. Throws a `Problem` 422 that names everything that is wrong, or a 503 if a type cannot run here.
 */
export async function readTaskRequest(
  env: Env,
  text: string,
  at: string,
  added: Readonly<Record<string, unknown>>,
): Promise<Start> {
  const request = parseRequest(text, at);
  const { type: name, callback_url, then = [] } = request;
  const type = findOpenTaskType(name);
  const input = withAdded(request.input, added, at);
  const errors: FieldError[] = type
    ? knownIssues(
        (await parseInput(type, JSON.stringify(input))).error,
        `${at}/input`,
        Object.keys(added).map((member) => [member]),
      )
    : [{ at: `${at}/type`, detail: noSuchType(name) }];
  const callbackError = (url: string) => checkCallbackUrl(env, url);
  const wrongCallback = callback_url === undefined ? undefined : callbackError(callback_url);
  if (wrongCallback !== undefined) errors.push({ at: `${at}/callback_url`, detail: wrongCallback });
  const next = readFollowUps(then, `${at}/then`, input, callbackError);
  errors.push(...(await followUpErrors(next)));
  if (!type || errors.length > 0) throw invalid(errors);
  checkAvailable(env, [{ type, at: `${at}/type` }, ...typesOf(next)]);
  return { ...toStart(request), type, input };
}

function parseRequest(text: string, at: string): FollowUp {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw invalid([{ at, detail: "begins with a brace, and is not valid JSON" }]);
  }
  const { data, error } = followUpSchema.safeParse(value);
  if (data) return data;
  throw invalid(knownIssues(error, at, []));
}

function withAdded(input: unknown, added: Readonly<Record<string, unknown>>, at: string): object {
  if (typeof input !== "object" || input === null || Array.isArray(input))
    throw invalid([{ at: `${at}/input`, detail: "must be an object" }]);
  const taken = Object.keys(added).find((member) => Object.hasOwn(input, member));
  if (taken !== undefined)
    throw invalid([{ at: `${at}/input/${taken}`, detail: "is added by the upload itself" }]);
  return { ...input, ...added };
}

/** With its types themselves, all of which exist. */
function toStart({ type: name, then, ...rest }: FollowUp): StartNext {
  const type = findOpenTaskType(name);
  if (!type) throw new TypeError(noSuchType(name));
  return { ...rest, type, ...(then ? { then: then.map(toStart) } : {}) };
}

const invalid = (errors: FieldError[]) =>
  new Problem("invalid", "The task that the request describes cannot be started.", { errors });
