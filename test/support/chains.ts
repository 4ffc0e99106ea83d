/** Tasks with follow-ups, submitted over HTTP. */

import { whenEnded } from "./background.ts";
import { callForJson } from "./call.ts";

export const submit = async (body: unknown, headers: Record<string, string> = {}) =>
  callForJson("/tasks", {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify(body),
  });

/** The task, and the tasks that followed it, as soon as all of them have ended. */
export async function chainOf(id: string): Promise<Record<string, unknown>[]> {
  const task = await whenEnded(id);
  const next = await Promise.all((task.followUps as string[]).map(chainOf));
  return [task, ...next.flat()];
}
