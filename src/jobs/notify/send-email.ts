/**
 * `send_email`: an e-mail through the binding EMAIL, to recipients that the configuration allows.
 *
 * Sending is a step, so an attempt that is repeated does not send it again. Between the moment at which the platform takes
 * the e-mail and the record of it, a crash can still make a later run send it twice; both have the same `X-Sluice-Task`.
 */
import { env as workerEnv } from "cloudflare:workers";
import { defineTask, NonRetryableError, RetryLaterError, type TaskContext } from "../../tasks/index.ts";
import { type EmailInput, emailInputSchema } from "./email-input.ts";
import { composeEmail } from "./email-message.ts";
import { emailBinding, emailUnavailable, readEmailSettings } from "./email-settings.ts";

/** After 5 s, 20 s, 80 s, 5 min, 21 min, 85 min and 5.7 h. */
const RETRY = { retries: 7, minDelayMs: 5_000, maxDelayMs: 6 * 3_600_000, factor: 4 };

/** The platform's reasons that pass, and how long that takes at least. Those that stay begin with `E_` as well. */
const PASSING = new Map([
  ["E_RATE_LIMIT_EXCEEDED", 60_000],
  ["E_DAILY_LIMIT_EXCEEDED", 3_600_000],
  ["E_INTERNAL_SERVER_ERROR", 0],
  ["E_DELIVERY_FAILED", 0],
]);

export const sendEmail = defineTask({
  name: "send_email",
  input: emailInputSchema,
  retry: RETRY,
  timeoutMs: 10 * 60_000,
  // In the fast lane, a run that is cut off after 25 s could not record what it has sent.
  lane: "long",
  unavailable: emailUnavailable,
  run: async (ctx, input) => send(workerEnv, ctx, input),
});

/** The message's id as the platform gives it, and to how many recipients it goes. */
interface SentEmail {
  messageId: string;
  recipients: number;
}

export async function send(env: Env, ctx: TaskContext, input: EmailInput): Promise<SentEmail> {
  const binding = emailBinding(env);
  const sender = input.from ?? readEmailSettings(env).senders[0];
  if (!binding || sender === undefined) throw new NonRetryableError(emailUnavailable(env));
  const recipients = input.to.length + input.cc.length + input.bcc.length;
  const name = `E-mail to ${recipients} recipient${recipients === 1 ? "" : "s"}`;
  ctx.progress(0, name);
  const messageId = await ctx.step("send", async () => {
    const message = await composeEmail({ input, sender, taskId: ctx.taskId, signal: ctx.signal });
    ctx.signal.throwIfAborted();
    const sent = await binding.send(message).catch((error: unknown) => {
      throw failureOf(error);
    });
    return sent.messageId;
  });
  ctx.progress(1, `${name}: sent`);
  return { messageId, recipients };
}

/** What the task must throw for what the binding threw: an error with a `code`. */
export function failureOf(error: unknown): unknown {
  if (!(error instanceof Error) || !("code" in error) || typeof error.code !== "string") return error;
  const message = `${error.code}: ${error.message}`;
  const afterMs = PASSING.get(error.code);
  if (afterMs !== undefined) return new RetryLaterError(message, Date.now() + afterMs, { cause: error });
  return error.code.startsWith("E_") ? new NonRetryableError(message, { cause: error }) : error;
}
