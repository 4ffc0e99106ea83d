/**
 * `daily_report`: a day's tasks, files and upstream calls, as JSON and as PDF with charts, stored under the date, and mailed if
 * that is asked for.
 *
 * The numbers are collected once, as a step, so a run that goes on reports the same. The files of a date are replaced when its
 * report is made again; the mail is a task of its own, which starts once for each report.
 */
import { env as workerEnv } from "cloudflare:workers";
import { z } from "zod";
import { type FileInfo, type FileSpec, findFile, openFile, saveFile } from "../../files/index.ts";
import { Problem } from "../../kernel/problem.ts";
import {
  defineTask,
  enqueueOnce,
  NonRetryableError,
  readTaskRequest,
  type TaskContext,
} from "../../tasks/index.ts";
import { renderPdf } from "../pdf/index.ts";
import { dateAt, dayBefore, dayOf, hasBegun } from "./day.ts";
import { type Before, collectDay } from "./day-data.ts";
import { dayReport } from "./day-report.ts";

/** No day before it has anything to report, and whoever names one has mistyped the year. */
const FIRST_DATE = "2000-01-01";

const fieldsSchema = z.strictObject({
  date: z.iso
    .date({ abort: true, error: "a day of the calendar, such as 2026-11-26" })
    .refine((date) => date >= FIRST_DATE, `${FIRST_DATE} or a later day`)
    .optional()
    .meta({
      description: `Default: the day before the one on which the task runs. From ${FIRST_DATE} on; not a day that has not begun in the time zone.`,
      example: "2026-11-26",
    }),
  time_zone: z
    .string()
    .refine(isTimeZone, { abort: true, message: "a name from the IANA database, such as Europe/Berlin" })
    .default("UTC"),
  email: z
    .strictObject({
      to: z.array(z.string()).min(1).max(50),
      subject: z.string().min(1).max(300).optional(),
    })
    .optional()
    .meta({ description: "Sends the PDF with send_email, to recipients that it allows." }),
  expires_in: z
    .int()
    .min(1)
    .max(3_153_600_000)
    .optional()
    .meta({ description: "The files expire after so many seconds." }),
});

const inputSchema = fieldsSchema.refine(
  ({ date, time_zone: timeZone }) => date === undefined || hasBegun(date, timeZone, Date.now()),
  { path: ["date"], message: "a day that has not begun yet in this time zone" },
);
type Input = z.output<typeof inputSchema>;

export const dailyReport = defineTask({
  name: "daily_report",
  input: inputSchema,
  run: async (ctx, input) => report(workerEnv, ctx, input),
});

const fileIdOf = (date: string, suffix: "json" | "pdf") => `daily-report-${date}.${suffix}`;

export async function report(env: Env, ctx: TaskContext, input: Input) {
  const { time_zone: timeZone, email, expires_in } = input;
  const date = await ctx.step("date", async () => input.date ?? dayBefore(dateAt(Date.now(), timeZone)));
  // Before anything is stored: a mail that cannot be sent is an error of the input.
  if (email) await readMail(env, date, email);
  const data = await ctx.step("data", async () => {
    const before = await readBefore(env, dayBefore(date));
    return collectDay(env, { date, timeZone, day: dayOf(date, timeZone), nowMs: Date.now() }, before);
  });
  ctx.progress(0.4, "numbers collected");
  const rendered = await renderPdf(dayReport(data));
  const save = async (suffix: "json" | "pdf", contentType: string, bytes: Uint8Array): Promise<FileInfo> => {
    const id = fileIdOf(date, suffix);
    const spec: FileSpec = { id, filename: id, contentType, task: ctx.taskId, expiresInSeconds: expires_in };
    return saveFile(env, spec, bytes, { signal: ctx.signal });
  };
  const json = await save("json", "application/json", Buffer.from(`${JSON.stringify(data, null, 2)}\n`));
  const pdf = await save("pdf", "application/pdf", rendered.bytes);
  ctx.progress(0.8, `${rendered.pages} pages stored`);
  const mailTaskId = email ? await startMail(env, ctx, date, email) : null;
  const { created, succeeded, failed } = data.tasks;
  return {
    date,
    json: { fileId: json.id, size: json.size },
    pdf: { fileId: pdf.id, size: pdf.size, pages: rendered.pages },
    tasks: { created, succeeded, failed },
    files: data.files.stored,
    calls: data.upstreams.reduce((sum, { calls }) => sum + calls, 0),
    mailTaskId,
  };
}

/** The mail as a task of the type send_email. Throws a `NonRetryableError` if it would not be accepted. */
async function readMail(env: Env, date: string, { to, subject }: NonNullable<Input["email"]>) {
  const input = {
    to,
    subject: subject ?? `Sluice: report of ${date}`,
    text: `The report of ${date} is attached.`,
    attachments: [{ fileId: fileIdOf(date, "pdf") }],
  };
  try {
    return await readTaskRequest(env, JSON.stringify({ type: "send_email", input }), "email", {});
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const places = error.options.errors?.map(({ at, detail }) => `${at}: ${detail}`) ?? [];
    throw new NonRetryableError(
      ["the report cannot be mailed", ...(places.length > 0 ? places : [error.detail])].join("; "),
    );
  }
}

async function startMail(
  env: Env,
  ctx: TaskContext,
  date: string,
  email: NonNullable<Input["email"]>,
): Promise<string> {
  const { type, input } = await readMail(env, date, email);
  return enqueueOnce(env, type, input, `${ctx.taskId} mail`);
}

/** The numbers of an earlier report, as far as they are needed; undefined if there is none that can be read. */
async function readBefore(env: Env, date: string): Promise<Before | undefined> {
  const id = fileIdOf(date, "json");
  const info = await findFile(env, id);
  if (!info || info.size > MAX_BEFORE_BYTES) return undefined;
  const file = await openFile(env, id);
  if (!file) return undefined;
  const { data } = beforeSchema.safeParse(parseJson(await new Response(file.body).text()));
  return data;
}

/** In bytes: a report is a few kilobytes long. */
const MAX_BEFORE_BYTES = 4 * 1024 * 1024;

const count = z.number();
const totals = z.object({
  since: z.string(),
  granted: count,
  ok: count,
  failed: count,
  overloaded: count,
  refused: count,
  retries: count,
});
/** Whoever may write files may have put anything there. */
const beforeSchema = z.object({
  collectedAt: z.iso.datetime(),
  upstreams: z.array(
    z.object({
      name: z.string(),
      totals,
      shards: z.record(z.string(), totals).optional(),
    }),
  ),
}) satisfies z.ZodType<Before>;

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: name }).format(0) !== "";
  } catch {
    return false;
  }
}
