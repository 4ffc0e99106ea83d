import { env, reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { verifyFile } from "../../src/jobs/verify-file.ts";
import { putFile, sha256 } from "../support/files.ts";
import { objectKeys } from "../support/stored.ts";
import { taskContext } from "../support/task-context.ts";

const lines: unknown[] = [];
const context = taskContext({ log: (...line) => void lines.push(line) });
const verify = async (fileId: string) => verifyFile.run(context, { fileId });

beforeEach(async () => {
  lines.length = 0;
  await reset();
  await putFile("a", "hello", { headers: { "Content-Disposition": 'attachment; filename="b.txt"' } });
});

describe("verify_file", () => {
  test("describes the file when its bytes are those that were uploaded", async () => {
    const result = { fileId: "a", filename: "b.txt", size: 5, sha256: sha256("hello") };
    expect(await verify("a")).toEqual(result);
    expect(lines).toEqual([["info", "File verified.", { fileId: "a", size: 5 }]]);
  });

  test("fails when they are not, and names both digests", async () => {
    const [key = ""] = await objectKeys();
    await env.FILES.put(key, "hullo");
    await expect(verify("a")).rejects.toThrow(
      `the sha256 is ${sha256("hullo")}; it was ${sha256("hello")} when the file was stored`,
    );
    expect(lines).toEqual([]);
  });

  test("fails when the file does not exist, or its bytes are lost", async () => {
    await expect(verify("none")).rejects.toThrow("there is no file none");
    await env.FILES.delete(await objectKeys());
    await expect(verify("a")).rejects.toThrow("the bytes of the file a are not in R2");
  });
});
