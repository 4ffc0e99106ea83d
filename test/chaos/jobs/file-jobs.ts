/** Jobs that read files and make files of them. What they must make is found out here by Node's own zlib and crypto. */
import { createHash } from "node:crypto";
import { crc32, gunzipSync, inflateSync } from "node:zlib";
import { z } from "zod";
import { textOfPages } from "../../support/pdf-text.ts";
import { sha256 } from "../files/source.ts";
import { differ, type Finding, finding, type Job, type Look } from "./job.ts";
import { pageLines, rowLabel, type Sources } from "./sources.ts";
import { readZip } from "./zip-reader.ts";

const madeFile = z.object({ fileId: z.string(), size: z.number(), sha256: z.string() });

export const fileJobs = (sources: Sources): Job[] => [
  hashing(sources),
  {
    kind: "compress_file",
    type: "compress_file",
    input: { fileId: sources.text.id, level: 6 },
    check: async (result, look) =>
      checkMade(result, look, (bytes) =>
        differ("what is packed", gunzipSync(bytes).equals(look.sources.text.bytes), true),
      ),
  },
  {
    kind: "decompress_file",
    type: "decompress_file",
    input: { fileId: sources.packed.id },
    check: async (result, look) =>
      checkMade(result, look, (bytes) =>
        differ("what was packed", sha256(bytes), sha256(look.sources.text.bytes)),
      ),
  },
  zipping(sources),
  unzipping(sources),
  resizing(sources),
  readingPdf(sources),
  renderingPdf(sources),
  analysing(sources),
];

function hashing({ text, pushed }: Sources): Job {
  return {
    kind: "hash_file",
    type: "hash_file",
    input: { fileId: text.id },
    check: async (result) => {
      const { digests } = z.object({ digests: z.record(z.string(), z.string()) }).parse(result);
      const expected = digestsOf(text.bytes);
      return finding([
        ...differ("the digests", digests, expected),
        ...differ("two files", sha256(text.bytes) === sha256(pushed.bytes), false),
      ]);
    },
  };
}

const digestsOf = (bytes: Buffer) => ({
  ...Object.fromEntries(
    ["md5", "sha1", "sha256", "sha512"].map((name) => [
      name.replace(/^sha/, "sha-"),
      createHash(name).update(bytes).digest("hex"),
    ]),
  ),
  crc32: crc32(bytes).toString(16).padStart(8, "0"),
});

function zipping({ text, pushed }: Sources): Job {
  const files = [
    { fileId: text.id, path: "a/text.txt" },
    { fileId: pushed.id, path: "b/pushed.bin" },
  ];
  return {
    kind: "zip_files",
    type: "zip_files",
    input: { files },
    check: async (result, look) =>
      checkMade(result, look, (bytes) => {
        const entries = readZip(bytes);
        return [
          ...differ(
            "the paths",
            [...entries.keys()],
            files.map(({ path }) => path),
          ),
          ...differ("the first entry", entries.get("a/text.txt")?.equals(text.bytes), true),
          ...differ("the second entry", entries.get("b/pushed.bin")?.equals(pushed.bytes), true),
        ];
      }),
  };
}

function unzipping({ archive, entries }: Sources): Job {
  const schema = z.object({ files: z.array(z.object({ fileId: z.string(), path: z.string() })) });
  return {
    kind: "unzip_file",
    type: "unzip_file",
    input: { fileId: archive.id },
    check: async (result, { api }) => {
      const { files } = schema.parse(result);
      const wrong = differ(
        "the paths",
        files.map(({ path }) => path),
        entries.map(({ path }) => path),
      );
      for (const [i, { fileId }] of files.entries())
        wrong.push(
          ...differ(fileId, (await api.read(fileId)).equals(entries[i]?.bytes ?? Buffer.of()), true),
        );
      return finding(wrong, { made: files.map(({ fileId }) => fileId) });
    },
  };
}

function resizing({ image }: Sources): Job {
  const widths = [1_200, 600, 300, 150, 75];
  const schema = z.object({ outputs: z.array(z.object({ fileId: z.string() })) });
  return {
    kind: "resize_image",
    type: "resize_image",
    input: { fileId: image.id, outputs: widths.map((width) => ({ width })) },
    check: async (result, { api }) => {
      const { outputs } = schema.parse(result);
      const sizes = await Promise.all(outputs.map(async ({ fileId }) => sizeOfPng(await api.read(fileId))));
      const made = outputs.map(({ fileId }) => fileId);
      return finding(
        differ(
          "the sizes",
          sizes,
          widths.map((width) => [width, (width * 2) / 3]),
        ),
        { made },
      );
    },
  };
}

/** Width and height of a PNG whose pixels are all there. */
function sizeOfPng(bytes: Buffer): [width: number, height: number] {
  const [width, height] = [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
  const parts: Buffer[] = [];
  for (let at = 8; at < bytes.length; at += 12 + bytes.readUInt32BE(at))
    if (bytes.toString("latin1", at + 4, at + 8) === "IDAT")
      parts.push(bytes.subarray(at + 8, at + 8 + bytes.readUInt32BE(at)));
  if (inflateSync(Buffer.concat(parts)).length < width * height) throw new Error("pixels are missing");
  return [width, height];
}

function readingPdf({ pdf, pdfPages }: Sources): Job {
  return {
    kind: "read_pdf",
    type: "read_pdf",
    input: { fileId: pdf.id },
    check: async (result, look) =>
      checkMade(result, look, (bytes) => {
        const pages = bytes.toString().split("\f");
        const expected = Array.from({ length: pdfPages }, (_, i) => pageLines(i).join("\n"));
        return [
          ...differ("the end", pages.pop(), ""),
          ...differ(
            "the pages",
            sha256(Buffer.from(pages.map((page) => page.trim()).join("|"))),
            sha256(Buffer.from(expected.join("|"))),
          ),
        ];
      }),
  };
}

function renderingPdf({ report, reportRows }: Sources): Job {
  return {
    kind: "render_pdf",
    type: "render_pdf",
    input: { fileId: report.id, title: "The rows" },
    check: async (result, look) => {
      const { pages } = z.object({ pages: z.number() }).parse(result);
      return checkMade(result, look, async (bytes) => {
        const texts = await textOfPages(bytes);
        const labels = texts.join("\n").match(/row-\d+-end/g) ?? [];
        const expected = Array.from({ length: reportRows }, (_, i) => rowLabel(i));
        return [
          ...differ("the number of pages", texts.length, pages),
          ...differ("the rows", labels, expected),
        ];
      });
    },
  };
}

function analysing({ table, rows, columns }: Sources): Job {
  const schema = z.object({
    rows: z.number(),
    malformed: z.object({ count: z.number() }),
    columns: z.array(
      z.object({
        name: z.string(),
        numbers: z.object({ min: z.number(), max: z.number(), mean: z.number() }).nullable(),
      }),
    ),
  });
  return {
    kind: "analyze_file",
    type: "analyze_file",
    input: { fileId: table.id, report: "html" },
    check: async (result, { taskId }) => {
      const found = schema.parse(result);
      const wrong = [...differ("rows", found.rows, rows), ...differ("malformed", found.malformed.count, 0)];
      for (const { name, mean, ...range } of columns) {
        const numbers = found.columns.find((column) => column.name === name)?.numbers;
        wrong.push(
          ...differ(
            `the range of ${name}`,
            { name, min: numbers?.min, max: numbers?.max },
            { name, ...range },
          ),
        );
        if (!(Math.abs((numbers?.mean ?? Infinity) - mean) < 1e-6))
          wrong.push(`the mean of ${name} is ${numbers?.mean}`);
      }
      return finding(wrong, { made: [`${taskId}.report.html`] });
    },
  };
}

/** The one file that a job has made: it is as the result says, and as `check` says. */
async function checkMade(
  result: unknown,
  { api }: Look,
  check: (bytes: Buffer) => string[] | Promise<string[]>,
): Promise<Finding> {
  const made = madeFile.parse(result);
  const bytes = await api.read(made.fileId);
  const wrong = [
    ...differ("the size", bytes.length, made.size),
    ...differ("the sha256", sha256(bytes), made.sha256),
    ...(await check(bytes)),
  ];
  return finding(wrong, { made: [made.fileId] });
}

/** Packs a file, unpacks what became of it, and hashes that: each begins when the one before has succeeded. */
export function chainOf(sources: Sources, hook: Job): Job {
  const { text } = sources;
  const [, packing, unpacking] = fileJobs(sources);
  if (!packing || !unpacking) throw new Error("there is no job to follow");
  const last: Job = {
    ...hashing(sources),
    kind: "hash_file, the end of a chain",
    input: { fileId: "{{result.fileId}}" },
    then: [hook],
  };
  return {
    ...packing,
    kind: "compress_file, the begin of a chain",
    input: { fileId: text.id, level: 1 },
    then: [
      {
        ...unpacking,
        kind: "decompress_file, in a chain",
        input: { fileId: "{{result.fileId}}" },
        then: [last],
      },
    ],
  };
}
