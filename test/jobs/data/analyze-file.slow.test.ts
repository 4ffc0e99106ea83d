/** The task type `analyze_file`, through the front door and cut at every moment. */

import { env, reset } from "cloudflare:test";
import { gzipSync } from "node:zlib";
import { beforeEach, describe, expect, test } from "vitest";
import { findFile } from "../../../src/files/index.ts";
import { analyzeFile, runAnalysis } from "../../../src/jobs/data/analyze-file.ts";
import { readPdf } from "../../../src/jobs/process/read-pdf.ts";
import type { TaskContext } from "../../../src/tasks/index.ts";
import { callForJson, callWorker } from "../../support/call.ts";
import { EventReader } from "../../support/events.ts";
import { putFile } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { NOTHING, whatIsLeftOf } from "../../support/stored.ts";
import { begin, submit, taskWhen } from "../../support/submissions.ts";
import { cutAtEveryMoment, TestTask } from "../../support/task-context.ts";

// The first bytes of a file are read, and then no more of that stream.
expectRuntimeErrors("reader canceled");
keepQuiet();
beforeEach(() => reset());

const CSV = 'city,visits,since\nRome,"1,204",2024-02-29\nOslo,77,2023-12-31\nRome,5,\nbroken\n';
const analysis = (input: object) => ({ type: "analyze_file", input });

describe("analyze_file", () => {
  test("is submitted over HTTP, tells how far it is, and ends with what is in the file", async () => {
    await putFile("visits.csv", CSV);
    const id = await begin(analysis({ fileId: "visits.csv" }));
    const { response } = await callWorker(`/tasks/${id}/events`);
    const events = new EventReader(response.body ?? new ReadableStream());
    const seen: unknown[] = [];
    for (let event = await events.next(); event; event = await events.next()) seen.push(event.data.status);
    expect(seen.at(-1)).toBe("succeeded");
    const { result, progress } = await taskWhen(id, "succeeded");
    expect(progress).toMatchObject({ message: "4 rows" });
    expect(result).toEqual({
      fileId: "visits.csv",
      filename: "visits.csv",
      size: CSV.length,
      format: {
        type: "csv",
        compression: null,
        charset: "utf-8",
        delimiter: ",",
        quote: '"',
        header: true,
        decimal: ".",
        lineEnd: "LF",
        nulls: ["NULL", "null", "NaN", "nan", "N/A", "#N/A", "\\N"],
      },
      rows: 4,
      blankLines: 0,
      malformed: {
        count: 1,
        reasons: { too_few_fields: 1 },
        listed: [{ row: 4, line: 5, reason: "too_few_fields", detail: "fields: 1 instead of 3" }],
      },
      columnCount: 3,
      precision: { distinctError: 0.0115, frequentShare: 0.00775, quantileBins: 2048, shownBytes: 48 },
      columns: [
        {
          name: "city",
          type: "text",
          kinds: { text: 3 },
          nulls: 0,
          distinct: 2,
          distinctIsExact: true,
          min: "Oslo",
          max: "Rome",
          numbers: null,
          frequent: [
            { value: "Rome", count: 2, countAtMost: 2 },
            { value: "Oslo", count: 1, countAtMost: 1 },
          ],
        },
        expect.objectContaining({
          name: "visits",
          type: "integer",
          min: 5,
          max: 1204,
          numbers: expect.objectContaining({
            count: 3,
            mean: expect.closeTo(428.667, 3),
            quantileError: 0,
          }),
        }),
        expect.objectContaining({
          name: "since",
          type: "date",
          nulls: 1,
          min: "2023-12-31",
          max: "2024-02-29",
        }),
      ],
      columnsFileId: null,
      reportFileId: null,
    });
  });

  test("is started by an upload", async () => {
    const { body } = await callForJson("/files/a.csv?task=analyze_file", { method: "PUT", body: CSV });
    const { task } = body as unknown as { task: { id: string } };
    expect(await taskWhen(task.id, "succeeded")).toMatchObject({ result: { rows: 4, columnCount: 3 } });
  });

  test.each([
    ["json/input/fileId", {}],
    ["json/input/fileId", { fileId: "../x" }],
    ["json/input/format", { fileId: "a", format: "xml" }],
    ["json/input/delimiter", { fileId: "a", delimiter: "::" }],
    ["json/input/delimiter", { fileId: "a", delimiter: "é" }],
    ["json/input/delimiter", { fileId: "a", delimiter: "\n" }],
    ["json/input/quote", { fileId: "a", quote: "''" }],
    ["json/input/header", { fileId: "a", header: "yes" }],
    ["json/input/charset", { fileId: "a", charset: "shift_jis" }],
    ["json/input/decimal", { fileId: "a", decimal: "'" }],
    ["json/input/nulls/0", { fileId: "a", nulls: [0] }],
    ["json/input/nulls", { fileId: "a", nulls: Array.from({ length: 21 }, String) }],
    ["json/input/report", { fileId: "a", report: "docx" }],
    ["json/input/quote", { fileId: "a", quote: ",", delimiter: "," }],
    ["json/input", { fileId: "a", delimter: ";" }],
    ["json/input/quote", { fileId: "a", delimiter: '"' }],
  ])("refuses a bad %s before it starts", async (at, input) => {
    const { status, body } = await submit(analysis(input));
    expect(status).toBe(422);
    expect(body.errors).toMatchObject([{ at }]);
  });

  test.each([
    ["there is no file none", "none", "x"],
    ["It is a zip archive", "zip", "PK\u0003\u0004…"],
    ["one object a line (NDJSON)", "array", '[{"a": 1}]'],
    ["at most 10000 can be analysed", "wide", Array.from({ length: 10_001 }, (_, i) => `c${i}`).join()],
    ["It cannot be read as Parquet: its footer: the end of the file is missing", "parquet", "PAR1abcdefgh"],
    ["its footer: it is empty", "hollow", "PAR1\0\0\0\0PAR1"],
    ["its footer: it is damaged", "nameless", "PAR1\0\x01\0\0\0PAR1"],
    ["It cannot be unpacked", "gzip", new Uint8Array(gzipSync("a,b\n1,2\n").subarray(0, 20))],
    ["longer than 1048576 bytes", "long", `"${"x".repeat(1_100_000)}`],
  ])("fails for good, and says why: %s", async (message, file, data) => {
    if (file !== "none") await putFile(file, data);
    const run = analyzeFile.run(new TestTask().context(), { fileId: file, nulls: [] });
    await expect(run).rejects.toThrow(message);
    await expect(run).rejects.toMatchObject({ name: "NonRetryableError" });
  });
});

describe("a long analysis", () => {
  const rows = Array.from({ length: 3_000 }, (_, i) => `${i},"name\n${i % 700}",${(i * 7919) % 1000}`);
  const long = `id,name,value\n${rows.join("\n")}\n`;
  const options = { fileId: "long.csv", nulls: [], report: "html" as const };
  const code = (maxRunMs = 60_000) => {
    return async (ctx: Parameters<typeof runAnalysis>[0]) =>
      runAnalysis(ctx, options, { checkpointBytes: 12_000, maxRunMs });
  };

  beforeEach(async () => {
    await putFile("long.csv", long);
  });

  test("ends with the same result and the same files, wherever a run is cut", async () => {
    const whole = await new TestTask().finish(code());
    expect(whole).toMatchObject({ rows: 3_000, malformed: { count: 0 } });
    const moments = await cutAtEveryMoment(
      async () => code(),
      (result) => expect(result).toEqual(whole),
    );
    expect(moments).toBe(2 * Math.floor(long.length / 12_000));
    const { body } = await callForJson("/files");
    expect((body.files as { id: string }[]).map(({ id }) => id).toSorted()).toEqual(
      ["long.csv", String(whole.reportFileId)].toSorted(),
    );
  });

  test("hands over at its checkpoints, and reads nothing twice", async () => {
    const task = new TestTask();
    const result = await task.finish(code(0));
    expect(task.runs).toBe(1 + Math.floor(long.length / 12_000));
    expect(result).toEqual(await new TestTask().finish(code()));
  });

  test.each([
    ["before hashes had versions", { version: "the sha256", checkpoint: { columns: "AAAA" } }],
    ["with hashes of another version", { hashes: -1 }],
  ])("reads again what was read %s, and ends with the same result", async (_, changes) => {
    const task = new TestTask();
    await expect(task.run(code(), 4)).rejects.toThrow("cut at moment 4");
    expect(task.checkpoint).toMatchObject({ hashes: expect.any(Number) });
    const own = task.checkpoint as object;
    task.checkpoint = "hashes" in changes ? { ...own, ...changes } : changes;
    expect(await task.run(code())).toEqual(await new TestTask().finish(code()));
  });

  test("fails when the file is replaced in between", async () => {
    const task = new TestTask();
    await expect(task.run(code(), 4)).rejects.toThrow("cut at moment 4");
    await putFile("long.csv", `${long}1,2,3\n`);
    await expect(task.run(code())).rejects.toThrow("was replaced while this task worked on it");
  });
});

describe("the files of an analysis", () => {
  test("columns that are too many for the result are in a file", async () => {
    const header = Array.from({ length: 3_000 }, (_, i) => `c${i}`).join();
    await putFile("wide.csv", `${header}\n${header.replaceAll("c", "")}\n`);
    const task = new TestTask();
    const result = await task.run(async (ctx) => analyzeFile.run(ctx, { fileId: "wide.csv", nulls: [] }));
    expect(result).toMatchObject({
      columns: null,
      columnCount: 3_000,
      columnsFileId: `${task.id}.columns.json`,
    });
    const { response } = await callWorker(`/files/${task.id}.columns.json`);
    const columns = await response.json<{ name: string; min: number }[]>();
    expect(columns).toHaveLength(3_000);
    expect(columns[2_999]).toMatchObject({ name: "c2999", min: 2_999 });
    expect(await findFile(env, String(result.columnsFileId))).toMatchObject({
      filename: "wide.columns.json",
      source: "wide.csv",
      task: task.id,
    });
  });

  test("go when the end of a run was lost, and the source is removed before the next", async () => {
    const header = Array.from({ length: 3_000 }, (_, i) => `c${i}`).join();
    await putFile("gone.csv", `${header}\n${header.replaceAll("c", "")}\n`);
    const task = new TestTask();
    const code = async (ctx: TaskContext) =>
      analyzeFile.run(ctx, { fileId: "gone.csv", nulls: [], report: "html" });
    await task.run(code);
    const made = [`${task.id}.columns.json`, `${task.id}.report.html`];
    expect((await whatIsLeftOf(...made)).files).toHaveLength(2);
    await callWorker("/files/gone.csv", { method: "DELETE" });
    await expect(task.run(code)).rejects.toThrow("gone.csv");
    expect(await whatIsLeftOf(...made)).toEqual(NOTHING);
  });

  test("a report has charts, and nothing of the file is markup in it", async () => {
    const attack = '<script>alert("x")</script>';
    const rows = Array.from({ length: 500 }, (_, i) => `${i},"<b>&${i % 3}'"`).join("\n");
    await putFile("a.csv", `n,"${attack.replaceAll('"', '""')}"\n${rows}\n<img>\n`);
    const task = new TestTask();
    await task.run(async (ctx) => analyzeFile.run(ctx, { fileId: "a.csv", nulls: [], report: "html" }));
    const { response } = await callWorker(`/files/${task.id}.report.html`);
    expect(response.headers.get("Content-Disposition")).toContain("filename=a.report.html");
    const html = await response.text();
    expect(html.match(/<svg /g)).toHaveLength(2);
    expect(html).toContain("&#60;script&#62;alert(&#34;x&#34;)");
    expect(html).not.toMatch(/<script|<b>|<img|NaN|undefined|Infinity/);
  });

  test("a report as PDF has the same facts, which read_pdf reads", async () => {
    const rows = Array.from({ length: 500 }, (_, i) => `${i},walk ${i % 3}`).join("\n");
    await putFile("b.csv", `km,name\n${rows}\n`);
    const task = new TestTask();
    const { reportFileId } = await task.run(async (ctx) =>
      analyzeFile.run(ctx, { fileId: "b.csv", nulls: [], report: "pdf" }),
    );
    expect(reportFileId).toBe(`${task.id}.report.pdf`);
    const reading = new TestTask();
    const read = await reading.run(async (ctx) =>
      readPdf.run(ctx, { fileId: String(reportFileId), first_page: 1 }),
    );
    for (const text of ["b.csv", "km (integer)", "Standard deviation", "name (text)", "Most frequent values"])
      expect(read.text).toContain(text);
    expect(read.text).not.toMatch(/NaN|undefined|Infinity/);
  });
});
