/**
 * `publish_file`: follows the task that a rule names in `before_publish`, and does what that has decided. It reads the decision
 * from that task itself, so whoever starts it by hand decides nothing.
 */
import { env } from "cloudflare:workers";
import { z } from "zod";
import { decideHeldFile, decisionSchema, fileIdSchema, findHeldFile } from "../files/index.ts";
import { defineTask, getTask, NonRetryableError } from "../tasks/index.ts";

export const publishFile = defineTask({
  name: "publish_file",
  input: z.strictObject({ fileId: fileIdSchema, version: z.uuid() }),
  async run(_ctx, held) {
    const found = await findHeldFile(env, held);
    // Decided before, by an earlier run or by hand.
    if (!found) return { is: "gone" as const };
    if (found.checkTaskId === null) throw new Error("the file's check is not recorded yet");
    const check = await getTask(env, found.checkTaskId);
    if (check?.status !== "succeeded") throw new NonRetryableError("the check of the file has not succeeded");
    const decision = decisionSchema.safeParse(check.result);
    if (!decision.success)
      throw new NonRetryableError(
        "the check returned neither { accepted: true } nor { accepted: false, reason }",
      );
    return decideHeldFile(env, held, decision.data);
  },
});
