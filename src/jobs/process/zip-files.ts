/** `zip_files`: stored files as one ZIP archive, in constant memory and over several runs. */
import { z } from "zod";
import type { FileInfo } from "../../files/index.ts";
import { defineTask, type TaskContext } from "../../tasks/index.ts";
import { allOrNothing, outputId } from "../support/outputs.ts";
import { createRunBudget } from "../support/run-budget.ts";
import { fileId } from "../support/schemas.ts";
import { openSource } from "../support/sources.ts";
import { describeFile, expiresIn, filenameSchema } from "./made-file.ts";
import { writeOutput } from "./output.ts";
import { writeZip, type ZipInput, type ZipState } from "./write-zip.ts";
import { foldersOf, safePath, uniqueNames } from "./zip-names.ts";

/** DEFLATE takes up to 60 ns of CPU time for a byte, and a run has 30 s. */
const MAX_BYTES_PER_RUN = 256 * 1024 * 1024;
const MAX_FILES = 1_000;

const pathSchema = z
  .string()
  .min(1, { abort: true })
  .superRefine((name, context) => {
    const safe = safePath(name);
    if ("fault" in safe) context.addIssue({ code: "custom", message: `cannot be a path: ${safe.fault}` });
  })
  .transform((name) => {
    const safe = safePath(name);
    return "path" in safe ? safe.path : name;
  });

const inputSchema = z.strictObject({
  files: z
    .array(
      z.strictObject({
        fileId,
        path: pathSchema.optional().meta({
          description: "In the archive. Default: the name of the file.",
          example: "reports/2026.csv",
        }),
      }),
    )
    .min(1)
    .max(MAX_FILES)
    .superRefine((files, context) => {
      const seen = new Set<string>();
      for (const [i, { path }] of files.entries()) {
        if (path === undefined) continue;
        if (seen.has(path.toLowerCase()))
          context.addIssue({ code: "custom", path: [i, "path"], message: "another file has this path" });
        seen.add(path.toLowerCase());
      }
      for (const [i, { path }] of files.entries()) {
        const file =
          path === undefined ? undefined : foldersOf(path).find((folder) => seen.has(folder.toLowerCase()));
        if (file !== undefined)
          context.addIssue({
            code: "custom",
            path: [i, "path"],
            message: `another file has the path ${file}`,
          });
      }
    }),
  filename: filenameSchema.default("archive.zip").meta({ description: "Default: archive.zip." }),
  level: z
    .int()
    .min(0)
    .max(9)
    .default(6)
    .meta({ description: "0 does not compress, 9 is the smallest. Default: 6." }),
  expires_in: expiresIn,
});

export const zipFiles = defineTask({
  name: "zip_files",
  input: inputSchema,
  timeoutMs: 24 * 3_600_000,
  run: async (ctx, input) => zip(ctx, input),
});

type Input = z.output<typeof inputSchema>;

/** `batchBytes`: for tests. */
export async function zip(ctx: TaskContext, input: Input, batchBytes?: number) {
  const made = outputId(ctx, "zip");
  return allOrNothing(ctx, [made], async () => write(ctx, made, input, batchBytes));
}

async function write(
  ctx: TaskContext,
  made: string,
  { files, filename, level, expires_in }: Input,
  batchBytes?: number,
) {
  // All runs write the same names, versions and time.
  const plan = await ctx.step("plan", async () => {
    const infos: FileInfo[] = [];
    for (const { fileId: id } of files) infos.push((await openSource(ctx.signal, id)).info);
    const names = files.map(({ path }, i) => path ?? infos[i]?.filename ?? "");
    return {
      atMs: Date.now(),
      names: uniqueNames(names.map(asPath)),
      versions: infos.map(({ id, sha256, size }) => ({ id, sha256, size })),
    };
  });
  const size = plan.versions.reduce((sum, version) => sum + version.size, 0);
  const inputs = plan.versions.map(
    (version, i): ZipInput => ({
      name: plan.names[i] ?? version.id,
      size: version.size,
      async *read(offset) {
        const source = await openSource(ctx.signal, version.id, { sha256: version.sha256 });
        yield* source.chunks({ offset });
      },
    }),
  );
  const only = files.length === 1 ? files[0]?.fileId : undefined;
  const spec = {
    id: made,
    filename,
    contentType: "application/zip",
    source: only,
    task: ctx.taskId,
    expiresInSeconds: expires_in,
  };
  const bytesBefore = (count: number) =>
    plan.versions.slice(0, count).reduce((sum, version) => sum + version.size, 0);
  const file = await writeOutput<ZipState>(ctx, spec, {
    version: String(plan.atMs),
    pieces: (from) => writeZip(inputs, plan.atMs, level, from),
    spend: createRunBudget(ctx, MAX_BYTES_PER_RUN),
    onProgress: ({ done, entry }) =>
      ctx.progress(
        (bytesBefore(done.length) + (entry?.offset ?? 0)) / size,
        `${done.length} of ${files.length} files zipped`,
      ),
    batchBytes,
  });
  ctx.progress(1, `${files.length} of ${files.length} files zipped`);
  return { ...describeFile(file), paths: plan.names, originalSize: size };
}

/** The name of a stored file is no path, and may be anything. */
function asPath(name: string): string {
  const safe = safePath(name);
  return "path" in safe ? safe.path : name.replaceAll(/[/\\:\p{Cc}]/gu, "_");
}
