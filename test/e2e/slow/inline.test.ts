/** `?disposition=inline` in a real browser: what may be shown is shown, and nothing runs, whatever its bytes are. */

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { INLINE_TYPES, inlineType } from "../../../src/files/download/inline.ts";
import { Chromium, hasChromium, type Visit } from "../../support/chromium.ts";
import { type Server as Sluice, sharedServer } from "../../support/node/built-worker.ts";

const sample = (name: string) => readFileSync(join(import.meta.dirname, "media", name));

/** A file of each type that Chromium shows; `video/quicktime` is shown as `video/mp4`. */
const SAMPLES: Record<string, string> = {
  "image/png": "red.png",
  "image/apng": "red.apng",
  "image/jpeg": "red.jpg",
  "image/gif": "red.gif",
  "image/webp": "red.webp",
  "image/avif": "red.avif",
  "image/bmp": "red.bmp",
  "image/x-icon": "red.ico",
  "audio/mpeg": "tone.mp3",
  "audio/mp4": "tone.m4a",
  "audio/aac": "tone.aac",
  "audio/ogg": "tone.ogg",
  "audio/wav": "tone.wav",
  "audio/webm": "tone.webm",
  "audio/flac": "tone.flac",
  "video/mp4": "film.mp4",
  "video/ogg": "tone.ogg",
  "video/webm": "film.webm",
  "video/3gpp": "film.3gp",
  "video/x-matroska": "film.mkv",
};
const OTHER_NAMES = [
  "audio/x-wav",
  "audio/wave",
  "audio/vnd.wave",
  "audio/x-pn-wav",
  "audio/x-m4a",
  "audio/x-flac",
].concat(["audio/x-aac", "audio/mp3", "video/x-m4v", "video/quicktime", "image/jpg", "image/x-ms-bmp"]);
const sampleFor = (type: string) =>
  type === "video/quicktime" ? "film.mov" : SAMPLES[inlineType(type) ?? ""];

/** What the tab shows, as soon as it shows something. */
const SEEN = `(() => {
  const media = document.querySelector("video, audio");
  // It has no source either while it looks for one, and until then the document is not complete.
  const hasNone = media?.networkState === HTMLMediaElement.NETWORK_NO_SOURCE && document.readyState === "complete";
  if (media?.error || hasNone) return "broken media";
  if (media?.paused) media.play().catch(() => {});
  if (media) return media.currentTime > 0 ? "media that plays" : undefined;
  const image = document.querySelector("img");
  if (image) return image.complete ? (image.naturalWidth > 0 ? "an image" : "a broken image") : undefined;
  if (document.readyState !== "complete" || location.protocol !== "http:") return undefined;
  return "text: " + document.body?.innerText;
})()`;

let server: Sluice;
let chromium: Chromium;
/** Another site, which what runs would call: the requests that it got. */
let witness: Server;
const heard: string[] = [];

beforeAll(async () => {
  if (!hasChromium) return;
  witness = createServer((request, response) => {
    if (request.url !== "/favicon.ico") heard.push(String(request.url));
    response.end();
  }).listen(0, "127.0.0.1");
  server = await sharedServer();
  chromium = await Chromium.start();
});
afterAll(async () => {
  await chromium?.stop();
  witness?.close();
});

let count = 0;
/** Stores a file, and opens a link to it that asks to show it. */
async function show(type: string, body: Uint8Array<ArrayBuffer> | string): Promise<Visit> {
  const id = `shown-${++count}`;
  const json = { "Content-Type": "application/json" };
  const put = await fetch(`${server.url}/files/${id}`, {
    method: "PUT",
    body,
    headers: { "Content-Type": type },
  });
  expect(put.status).toBe(201);
  const link = await fetch(`${server.url}/files/${id}/links`, {
    method: "POST",
    body: '{"expires_in": 600}',
    headers: json,
  });
  const { url } = (await link.json()) as { url: string };
  return chromium.visit(`${url}?disposition=inline`, SEEN);
}

const blocked = ({ messages }: Visit) => messages.filter((text) => /load|media|image|fetch|CORS/i.test(text));

describe.skipIf(!hasChromium)("in Chromium (skipped where it is not installed)", () => {
  // Other names of these are served under one of them (test/files/download/inline.test.ts).
  test.each([...Object.keys(SAMPLES), ...OTHER_NAMES])("%s is shown", async (type) => {
    const visit = await show(type, Uint8Array.from(sample(String(sampleFor(type)))));
    const shown = inlineType(type)?.startsWith("image/") === true ? "an image" : "media that plays";
    expect([visit.isDownload, visit.value, blocked(visit)]).toEqual([false, shown, []]);
  });

  test("text/plain is shown, in the charset of its uploader", async () => {
    const latin1 = Uint8Array.from(Buffer.from("caf\xe9", "latin1"));
    expect((await show("text/plain; charset=iso-8859-1", latin1)).value).toBe("text: café");
    expect((await show("text/plain", "café")).value).toBe("text: café");
  });

  test.each(["image/tiff", "image/heic", "audio/aiff", "video/x-msvideo"])(
    "%s, which this browser does not know, is saved",
    async (type) => {
      expect(INLINE_TYPES).toContain(type);
      expect((await show(type, "bytes")).isDownload).toBe(true);
    },
  );

  const call = (from: string) => `http://127.0.0.1:${(witness.address() as AddressInfo).port}/${from}`;
  const html = () =>
    `<!DOCTYPE html><title>x</title><script>fetch("${call("script")}", { mode: "no-cors" })</script>` +
    `<img src="x:" onerror="fetch('${call("onerror")}', { mode: 'no-cors' })"><img src="${call("img")}">` +
    `<meta http-equiv="refresh" content="0;url=${call("refresh")}"><iframe src="${call("frame")}"></iframe>` +
    `<object data="${call("object")}"></object><link rel="stylesheet" href="${call("style")}">`;
  const svg = () =>
    `<svg xmlns="http://www.w3.org/2000/svg" onload="fetch('${call("onload")}', { mode: 'no-cors' })">` +
    `<script>fetch("${call("svg")}", { mode: "no-cors" })</script></svg>`;
  const xml = () =>
    `<?xml version="1.0"?><?xml-stylesheet type="text/xsl" href="${call("xslt")}"?>` +
    `<x:script xmlns:x="http://www.w3.org/1999/xhtml">fetch("${call("xml")}", { mode: "no-cors" })</x:script>`;
  const pdf = () =>
    "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R/OpenAction<</S/JavaScript/JS(app.launchURL\\(" +
    `"${call("pdf")}"\\);)>>>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n` +
    "3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF";
  const RUNNABLE: [string, string, () => string][] = [
    ["text/html", "an HTML page", html],
    ["text/html; charset=windows-1251", "an HTML page", html],
    ["application/xhtml+xml", "an XML page", xml],
    ["image/svg+xml", "a drawing", svg],
    ["text/xml", "an XML page", xml],
    ["application/xml", "an XML page", xml],
    ["application/rss+xml", "an XML page", xml],
    ["application/pdf", "a PDF", pdf],
    ["text/javascript", "a script", () => `fetch("${call("js")}")`],
    ["multipart/related; boundary=x", "an archived page", html],
    ["application/octet-stream", "a page of no type", html],
  ];

  test.each(RUNNABLE)("as %s, %s is saved and does not run", async (type, _what, make) => {
    const visit = await show(type, make());
    expect([visit.isDownload, visit.value, heard]).toEqual([true, undefined, []]);
  });

  test.each(["text/plain", ...Object.keys(SAMPLES)])("as %s, a page does not run either", async (type) => {
    for (const make of type === "text/plain" ? [html, svg, xml, pdf] : [html]) {
      const { value } = await show(type, make());
      expect(value).toMatch(type === "text/plain" ? /^text: / : /^(broken media|a broken image)$/);
    }
    expect(heard).toEqual([]);
  });

  test("(the same page does run elsewhere, to compare)", async () => {
    // Nor has any of them run since.
    expect(heard).toEqual([]);
    const page = createServer((_, response) => {
      response.writeHead(200, { "Content-Type": "text/html" }).end(html());
    }).listen(0, "127.0.0.1");
    await once(page, "listening");
    await chromium.visit(`http://127.0.0.1:${(page.address() as AddressInfo).port}/`, "location.href");
    await expect
      .poll(() => heard, { timeout: 10_000 })
      .toEqual(expect.arrayContaining(["/script", "/onerror", "/img"]));
    page.close();
  });
});
