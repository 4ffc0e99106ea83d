/** render_pdf and read_pdf: what one writes, the other reads. */

import { reset } from "cloudflare:test";
import { inflateRawSync } from "node:zlib";
import { beforeAll, describe, expect, test } from "vitest";
import sans from "../../../src/jobs/pdf/fonts/sans.ts";
import { renderPdf } from "../../../src/jobs/pdf/index.ts";
import { read } from "../../../src/jobs/process/read-pdf.ts";
import { renderPdfTask } from "../../../src/jobs/process/render-pdf.ts";
import type { TaskContext } from "../../../src/tasks/index.ts";
import { callForJson, callWorker } from "../../support/call.ts";
import { fetchText, putFile } from "../../support/files.ts";
import { makePng } from "../../support/image-maker.ts";
import { textOfPages } from "../../support/pdf-text.ts";
import { expectRuntimeErrors } from "../../support/runtime-errors.ts";
import { submit, submitted, taskWhen } from "../../support/submissions.ts";
import { cutAtEveryMoment, TestTask } from "../../support/task-context.ts";

// A range that is not read to its end.
expectRuntimeErrors("reader canceled");

async function succeeded(type: string, input: object) {
  const id = await submitted({ type, input });
  const { result } = await taskWhen(id, "succeeded");
  return { id, result: result as Record<string, unknown> };
}

async function failed(type: string, input: object): Promise<string> {
  const { error } = await taskWhen(await submitted({ type, input }), "failed");
  return (error as { message: string }).message;
}

async function pagesOf(fileId: unknown): Promise<string[]> {
  const { response } = await callWorker(`/files/${String(fileId)}`);
  return textOfPages(new Uint8Array(await response.arrayBuffer()));
}

/** A picture of 2 by 1 pixels. */
const PNG = makePng(2, 1);

beforeAll(async () => {
  await reset();
  await putFile("report.md", "# Größe\n\nFrom a *file*.", { headers: { "Content-Type": "text/markdown" } });
  await putFile(
    "rows.json",
    JSON.stringify([
      { name: "a", count: 1 },
      { name: "b", note: "x" },
    ]),
    {
      headers: { "Content-Type": "application/json" },
    },
  );
  await putFile("cat.png", PNG);
  await putFile("font.ttf", inflateRawSync(Buffer.from(sans, "base64")));
});

describe("render_pdf", () => {
  test("renders Markdown, with a foot, warnings and progress", async () => {
    const markdown = "# Hello\n\nWörld 漢 ![](https://a.example/x.png)\n\n![A cat](cat.png)";
    const { id, result } = await succeeded("render_pdf", { markdown, title: "A title", page_size: "letter" });
    expect(result).toMatchObject({
      fileId: `${id}.pdf`,
      filename: "report.pdf",
      contentType: "application/pdf",
      pages: 1,
    });
    expect(result.warnings).toEqual([
      "Only images that are stored files are shown. Not shown: https://a.example/x.png.",
      "No font has these characters, which are drawn as \ufffd: 漢 (U+6F22).",
    ]);
    expect(await pagesOf(`${id}.pdf`)).toEqual([
      expect.stringMatching(/Hello\s+Wörld .*A cat\s+A title\s+1 \/ 1/s),
    ]);
    expect((await fetchText(`/tasks/${id}/events`)).text).toContain("1 pages rendered");
  });

  test("renders a stored file, Markdown or rows of JSON, and links to it", async () => {
    const { id, result } = await succeeded("render_pdf", { fileId: "report.md", font: "font.ttf" });
    expect(result).toMatchObject({ filename: "report.pdf", warnings: [] });
    expect(await pagesOf(`${id}.pdf`)).toEqual([expect.stringContaining("Größe")]);
    expect((await callForJson("/files?source=report.md")).body.files).toMatchObject([
      { id: `${id}.pdf`, sourceTask: id },
    ]);
    const table = await succeeded("render_pdf", { fileId: "rows.json" });
    expect(await pagesOf(`${table.id}.pdf`)).toEqual([
      expect.stringMatching(/name\s+count\s+note\s+a\s+1\s+b\s+x/),
    ]);
  });

  test("makes the same file wherever it was cut, and one only", async () => {
    const digests = new Set<string>();
    const code = async (ctx: TaskContext) => renderPdfTask.run(ctx, { fileId: "report.md" });
    // It records nothing. So its moments are its reports of progress, and after each it begins anew.
    let at = 1;
    for (let wasCut = true; wasCut; at++) {
      const task = new TestTask(`s0-${crypto.randomUUID()}`);
      const context = task.endingContext({ at, reason: new Error("cut"), countsProgress: true });
      await code(context).catch(() => {});
      wasCut = context.signal.aborted;
      const { sha256, fileId } = await task.finish(code);
      digests.add(sha256);
      const { body } = await callForJson("/files?source=report.md&limit=1000");
      const files = body.files as { id: string; sourceTask: string }[];
      expect(files.filter(({ sourceTask }) => sourceTask === task.id).map(({ id }) => id)).toEqual([fileId]);
    }
    expect(at).toBeGreaterThan(3);
    expect(digests.size).toBe(1);
  });

  test("a long table is on several pages, each with the heads of its columns", async () => {
    const rows = Array.from({ length: 120 }, (_, i) => [`row ${i}`, `${i}`]);
    const blocks = [{ type: "table" as const, columns: [{ title: "Name" }, { title: "Count" }], rows }];
    const { bytes, pages } = await renderPdf({ title: "Rows", blocks });
    const texts = await textOfPages(bytes);
    expect(texts).toHaveLength(pages);
    expect(pages).toBeGreaterThan(2);
    for (const [i, text] of texts.entries()) {
      expect(text).toMatch(/^Name\s+Count/);
      expect(text).toContain(`Rows ${i + 1} / ${pages}`);
    }
    const all = texts.join("\n");
    for (const [name] of rows) expect(all).toMatch(new RegExp(`${name}\\b`));
    expect((await renderPdf({ title: "Rows", blocks })).bytes).toEqual(bytes);
  });

  test("a row that is longer than a page goes on in the next", async () => {
    const words = Array.from({ length: 3_000 }, (_, i) => `w${i}`).join(" ");
    const blocks = [
      { type: "table" as const, columns: [{ title: "Head" }, { title: "B" }], rows: [[words, "b"]] },
    ];
    const texts = await textOfPages((await renderPdf({ blocks })).bytes);
    expect(texts.length).toBeGreaterThan(1);
    expect(texts.every((text) => text.startsWith("Head"))).toBe(true);
    expect(texts.join(" ")).toContain("w2999");
  });

  test.each([
    ["a file that does not exist", { fileId: "none" }, "there is no file none"],
    ["a file that is no text", { fileId: "cat.png" }, "it is not text in UTF-8"],
    ["an image that does not exist", { markdown: "![](none.png)" }, "there is no file none.png"],
    [
      "an image that is none",
      { markdown: "![](report.md)" },
      "the image report.md cannot be shown: it is neither JPEG nor PNG",
    ],
    [
      "a font that is none",
      { markdown: "a", font: "cat.png" },
      "the font cannot be used: it is not a TrueType font",
    ],
    ["a chart that is none", { markdown: "```chart\n{}\n```" }, "a code block `chart` is no chart"],
  ])("fails for %s", async (_, input, message) => {
    expect(await failed("render_pdf", input)).toContain(message);
  });

  test.each([
    ["nothing", {}, "json/input/fileId"],
    ["two sources", { fileId: "a", markdown: "b" }, "json/input/fileId"],
    [
      "a block that is not known",
      { document: { blocks: [{ type: "film" }] } },
      "json/input/document/blocks/0/type",
    ],
    [
      "a link to code",
      { document: { blocks: [{ type: "paragraph", text: [{ text: "a", link: "javascript:x" }] }] } },
      "json/input/document/blocks/0/text",
    ],
    ["a page of another size", { markdown: "a", page_size: "A0" }, "json/input/page_size"],
  ])("refuses %s, and starts nothing", async (_, input, at) => {
    const { status, body } = await submit({ type: "render_pdf", input });
    expect([status, body.errors]).toEqual([
      422,
      [expect.objectContaining({ at: expect.stringContaining(at) })],
    ]);
  });
});

describe("read_pdf", () => {
  const blocks = [1, 2, 3].flatMap((n) => [
    ...(n === 1 ? [] : [{ type: "page_break" as const }]),
    { type: "paragraph" as const, text: `Page ${n}, größer` },
  ]);

  test("has the text in its result and as a file, with the metadata", async () => {
    const { bytes } = await renderPdf({ title: "Three", author: "Ada", blocks });
    await putFile("three.pdf", bytes);
    const { id, result } = await succeeded("read_pdf", { fileId: "three.pdf" });
    const text = [1, 2, 3].map((n) => `Page ${n}, größer\nThree ${n} / 3\n\f`).join("");
    expect(result).toMatchObject({
      fileId: `${id}.txt`,
      filename: "three.txt",
      pages: 3,
      text,
      hasText: true,
      isEncrypted: false,
      metadata: { Title: "Three", Author: "Ada", Producer: "Sluice" },
      pageSize: { width: 595.28, height: 841.89 },
    });
    expect((await fetchText(`/files/${id}.txt`)).text).toBe(text);
    const second = await succeeded("read_pdf", { fileId: "three.pdf", first_page: 2, last_page: 2 });
    expect(second.result.text).toBe("Page 2, größer\nThree 2 / 3\n\f");
  });

  test("goes on wherever it was cut", async () => {
    const { bytes } = await renderPdf({ blocks });
    await cutAtEveryMoment(
      async () => {
        await reset();
        await putFile("three.pdf", bytes);
        return async (ctx: TaskContext) => read(ctx, { fileId: "three.pdf", first_page: 1 }, 1);
      },
      async ({ fileId }) => {
        const { text } = await fetchText(`/files/${fileId}`);
        expect(text.match(/Page \d/g)).toEqual(["Page 1", "Page 2", "Page 3"]);
      },
    );
  });

  test("names what it cannot read", async () => {
    const { bytes } = await renderPdf({ blocks });
    const keys = `/O <${"00".repeat(32)}> /U <${"00".repeat(32)}>`;
    const encrypt = ` /Encrypt << /Filter /Standard /V 1 /R 2 ${keys} /P -4 >> /ID [<00> <00>] >>\nstartxref`;
    const encrypted = Buffer.from(bytes).toString("latin1").replace(" >>\nstartxref", encrypt);
    await putFile("encrypted.pdf", Buffer.from(encrypted, "latin1"));
    await putFile("broken.pdf", "%PDF-1.7 and nothing else");
    await putFile("three.pdf", bytes);
    expect(await failed("read_pdf", { fileId: "encrypted.pdf" })).toContain(
      "it is encrypted: give its password",
    );
    expect(await failed("read_pdf", { fileId: "encrypted.pdf", password: "x" })).toContain(
      "the password is wrong",
    );
    expect(await failed("read_pdf", { fileId: "broken.pdf" })).toContain("it is not a PDF, or it is damaged");
    expect(await failed("read_pdf", { fileId: "three.pdf", first_page: 4 })).toContain(
      "it has 3 pages, and first_page is 4",
    );
  });

  test("refuses what is damaged anywhere for good, in words about the file, or reads it", async () => {
    const { bytes } = await renderPdf({ blocks });
    const messages = new Set<string>();
    for (let at = 20; at < bytes.length; at += Math.ceil(bytes.length / 40)) {
      await putFile("hurt.pdf", Buffer.from(bytes).fill("x", at, at + 30));
      const reading = new TestTask().run(async (ctx) => read(ctx, { fileId: "hurt.pdf", first_page: 1 }));
      await reading.catch((error: unknown) => {
        expect(error).toMatchObject({ name: "NonRetryableError" });
        messages.add(String(error));
      });
    }
    for (const message of messages) expect(message).not.toMatch(/undefined|null|is not a function/);
  });

  test.each([
    [{}, "json/input/fileId"],
    [{ fileId: "a", first_page: 0 }, "json/input/first_page"],
    [{ fileId: "a", last_page: 1.5 }, "json/input/last_page"],
    [{ fileId: "a", first_page: 3, last_page: 2 }, "json/input/last_page"],
  ])("refuses %j, and starts nothing", async (input, at) => {
    const { status, body } = await submit({ type: "read_pdf", input });
    expect([status, body.errors]).toEqual([422, [expect.objectContaining({ at })]]);
  });
});
