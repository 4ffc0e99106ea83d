/** Callbacks of Sluice (Standard Webhooks), with the types of its document. */
import { Webhook } from "standardwebhooks";
import type { Task } from "./client.ts";

export interface Callback {
  type: "task.succeeded" | "task.failed" | "task.cancelled";
  timestamp: string;
  data: Task;
}

/**
 * The message in a request. Throws if its signature is wrong or it is older than five minutes. `key`: one of `CALLBACK_KEYS`.
 * A message may come more than once, with the same `webhook-id`.
 */
export async function readCallback(request: Request, key: string): Promise<Callback> {
  const body = await request.text();
  new Webhook(key).verify(body, Object.fromEntries(request.headers));
  const callback: Callback = JSON.parse(body);
  return callback;
}
