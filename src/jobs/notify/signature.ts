/** The signature of a webhook (https://www.standardwebhooks.com). */
import { Webhook } from "standardwebhooks";

/** The headers of Standard Webhooks: one signature for each key, so that a receiver needs only one of the keys. */
export function signMessage(
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
