/** read_pdf on PDFs as people have them: encrypted, scanned, damaged, packed and edited. */
import { expect, test } from "vitest";
import { callForJson } from "../../support/call.ts";
import { putFile } from "../../support/files.ts";
import {
  encryptPdf,
  makeCompactPdf,
  makePdf,
  scannedPage,
  textPages,
  updatePdf,
} from "../../support/pdf-maker.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { submitted, taskWhen } from "../../support/submissions.ts";

keepQuiet();

const PAGES = textPages([["The first page", "(with parentheses)"], ["Caf\u00e9"]]);
const TEXT = "The first page\n(with parentheses)\n\fCaf\u00e9\n\f";
const plain = makePdf(PAGES);

async function taskOn(pdf: Uint8Array, input: object, status: string) {
  const name = `pdf-${crypto.randomUUID()}`;
  await putFile(name, pdf);
  const id = await submitted({ type: "read_pdf", input: { fileId: name, ...input } });
  return { name, task: await taskWhen(id, status) };
}

/** Without white space at the ends of lines, of which a document may have any. */
const clean = (text: unknown) =>
  String(text)
    .replaceAll(/[^\S\n\f]+(?=\n|\f)/g, "")
    .replaceAll(/\n+\f/g, "\n\f");

test.each<[string, Uint8Array, object, object]>([
  ["plain", plain, {}, { isEncrypted: false, version: "1.4" }],
  ["that begins after other bytes", Buffer.concat([Buffer.from("\r\n\r\n"), plain]), {}, {}],
  ["with its objects in a stream, and the table too", makeCompactPdf(PAGES), {}, { version: "1.5" }],
  ["whose table is not where it says", makePdf(PAGES, { xrefError: 37 }), {}, {}],
  [
    "whose line ends were changed on the way",
    Buffer.from(plain.toString("latin1").replaceAll("\n", "\r\n"), "latin1"),
    {},
    {},
  ],
  ["that everybody may open, encrypted", encryptPdf(PAGES, "", "owner"), {}, { isEncrypted: true }],
  [
    "that is encrypted, with its password",
    encryptPdf(PAGES, "secret", "owner"),
    { password: "secret" },
    { isEncrypted: true },
  ],
  [
    "that is encrypted, with its owner's password",
    encryptPdf(PAGES, "secret", "owner"),
    { password: "owner" },
    {},
  ],
])("reads a PDF %s", async (_, pdf, input, expected) => {
  const { task } = await taskOn(pdf, input, "succeeded");
  const result = task.result as { text: string };
  expect({ ...result, text: clean(result.text) }).toMatchObject({
    pages: 2,
    text: TEXT,
    hasText: true,
    ...expected,
  });
});

test("reads the last version of a page that was edited", async () => {
  const data = Buffer.from("BT /F1 12 Tf 50 790 Td (Edited) Tj ET");
  const { task } = await taskOn(updatePdf(plain, 5, { entries: "", data }), {}, "succeeded");
  expect(clean((task.result as { text: string }).text)).toBe("Edited\n\fCaf\u00e9\n\f");
});

test.each([
  ["a scan", makePdf(scannedPage())],
  ["pages of white space", makePdf(textPages([[" ", ""], ["  "]]))],
])("says that %s has no text", async (_, pdf) => {
  const { task } = await taskOn(pdf, {}, "succeeded");
  expect(task.result).toMatchObject({ hasText: false });
  expect((task.result as { text: string }).text.trim()).toBe("");
});

test.each<[string, Uint8Array, object, string]>([
  [
    "that is encrypted, without its password",
    encryptPdf(PAGES, "secret", "owner"),
    {},
    "it is encrypted: give its password",
  ],
  [
    "that is encrypted, with a wrong password",
    encryptPdf(PAGES, "secret", "owner"),
    { password: "x" },
    "the password is wrong",
  ],
  [
    "whose end is cut off, with the table of its objects",
    plain.subarray(0, -100),
    {},
    "it is not a PDF, or it is damaged",
  ],
  ["of which only the head is there", plain.subarray(0, 100), {}, "it is not a PDF, or it is damaged"],
  ["that is HTML", Buffer.from("<!doctype html><title>404</title>"), {}, "it is not a PDF, or it is damaged"],
  ["without a byte", Buffer.alloc(0), {}, "it is not a PDF, or it is damaged"],
])("fails at once for a PDF %s, and leaves nothing", async (_, pdf, input, why) => {
  const { name, task } = await taskOn(pdf, input, "failed");
  expect(task).toMatchObject({ attempt: 1, error: { message: expect.stringContaining(why) } });
  expect((task.error as { message: string }).message).toContain(`the file ${name} cannot be read: `);
  expect((await callForJson(`/files?source=${name}`)).body.files).toEqual([]);
});
