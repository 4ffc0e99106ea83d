/**
 * `send_webhook`: an event of yours, as a webhook to one of the origins that callbacks may go to: signed, retried and
 * limited as they are.
 */
import { env as workerEnv } from "cloudflare:workers";
import { z } from "zod";
import { defineTask, type TaskContext } from "../../tasks/index.ts";
import { callbackTargetError } from "./callback-targets.ts";
import { DELIVERY_LIMITS, deliverWebhook, webhooksUnavailable } from "./delivery.ts";

const inputSchema = z
  .strictObject({
    url: z.string().meta({ description: "On one of CALLBACK_ORIGINS." }),
    type: z
      .string()
      .regex(/^\w[\w.-]{0,127}$/, "1 to 128 letters, digits, `_`, `-` and `.`")
      .meta({ description: "What has happened, such as `invoice.paid`." }),
    data: z.unknown().default(null).meta({ description: "Any JSON." }),
  })
  .superRefine(({ url }, refinement) => {
    const message = callbackTargetError(workerEnv, url);
    if (message !== undefined) refinement.addIssue({ code: "custom", path: ["url"], message });
  })
  .meta({
    examples: [{ url: "https://app.example.com/hooks", type: "invoice.paid", data: { invoice: 12 } }],
  });

export const sendWebhook = defineTask({
  name: "send_webhook",
  input: inputSchema,
  ...DELIVERY_LIMITS,
  unavailable: webhooksUnavailable,
  run: async (ctx, input) => send(workerEnv, ctx, input),
});

/** One try. The message, with the time at which the first try began, is the same in all of them. */
export async function send(
  env: Env,
  ctx: TaskContext,
  { url, type, data }: z.output<typeof inputSchema>,
): Promise<{ id: string; status: number }> {
  const timestamp = await ctx.step("timestamp", async () => new Date().toISOString());
  const id = `msg_${ctx.taskId}`;
  const message = JSON.stringify({ type, timestamp, data });
  ctx.progress(0, `${type} to ${new URL(url).origin}`);
  const { status } = await deliverWebhook(env, ctx, {
    url,
    message,
    name: `the webhook ${id}`,
    sender: "send_webhook",
  });
  ctx.progress(1, `${type} was received`);
  return { id, status };
}
