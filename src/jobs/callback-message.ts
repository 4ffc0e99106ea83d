/** What a callback says, and how it is signed (https://www.standardwebhooks.com). */
import { Webhook } from "standardwebhooks";
import type { Task } from "../tasks/index.ts";

/** Its body, as it is signed. */
export function messageOf(task: Task): string {
  return JSON.stringify({ type: `task.${task.status}`, timestamp: task.finishedAt, data: task });
}

/** Standard Webhooks' headers: signed with each key, so that a receiver may know any of them. */
export function signatureOf(
  keys: readonly string[],
  id: string,
  sentAt: Date,
  message: string,
): Record<string, string> {
  return {
    "webhook-id": id,
    "webhook-timestamp": String(Math.floor(sentAt.getTime() / 1000)),
    "webhook-signature": keys.map((key) => new Webhook(key).sign(id, sentAt, message)).join(" "),
  };
}
