/** A job from end to end: submitted over HTTP, followed through its events, and read when it has ended. */
import { expect } from "vitest";
import { callWorker } from "./call.ts";
import { EventReader, type ServerSentEvent } from "./events.ts";
import { begin, submit, taskOf } from "./submissions.ts";

/** Submits a task, and reads its events until the stream ends, as it does when the task has ended. */
export async function follow(type: string, input: unknown, more: object = {}) {
  const id = await begin({ type, input, ...more });
  const { response } = await callWorker(`/tasks/${id}/events`);
  if (!response.body) throw new Error(`${id} has no events`);
  const reader = new EventReader(response.body);
  const events: ServerSentEvent[] = [];
  for (let event = await reader.next(); event; event = await reader.next()) events.push(event);
  return { id, events, task: await taskOf(id) };
}

/** What is wrong with an input, by its place, according to the 422 that rejects it. */
export async function rejection(type: string, input: unknown): Promise<Record<string, string>> {
  const { status, body } = await submit({ type, input });
  expect(status).toBe(422);
  const errors = body.errors as { at: string; detail: string }[];
  return Object.fromEntries(errors.map(({ at, detail }) => [at.replace("json/input/", ""), detail]));
}
