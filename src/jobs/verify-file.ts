import { env } from "cloudflare:workers";
import { z } from "zod";
import { openFile } from "../files/index.ts";
import { defineTask, NonRetryableError } from "../tasks/index.ts";

/** Reads a file back from R2, and fails if its bytes are not those that were uploaded. */
export const verifyFile = defineTask({
  name: "verify_file",
  input: z.object({ fileId: z.string() }),
  async run(ctx, { fileId }) {
    const file = await openFile(env, fileId);
    if (!file) throw new NonRetryableError(`there is no file ${fileId}`);
    const digest = new crypto.DigestStream("SHA-256");
    await file.body.pipeTo(digest);
    const sha256 = Buffer.from(await digest.digest).toString("hex");
    const { size, filename } = file.info;
    if (sha256 !== file.info.sha256)
      throw new NonRetryableError(
        `the sha256 is ${sha256}; it was ${file.info.sha256} when the file was stored`,
      );
    ctx.log("info", "File verified.", { fileId, size });
    return { fileId, filename, size, sha256 };
  },
});
