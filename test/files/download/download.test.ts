/** Reading a file over HTTP: whole, in part, or not at all (304); and that served bytes can do no harm. */
import { env, reset } from "cloudflare:test";
import * as fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { ETAG, fetchText, postForm, putFile, sha256, withEtag } from "../../support/files.ts";
import { filePart, formBody } from "../../support/form.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { changed, collect } from "../../support/stored.ts";

const TEXT = "0123456789";
const LONG_AGO = "Sun, 06 Nov 1994 08:49:37 GMT";
const FAR_AHEAD = "Sun, 06 Nov 2094 08:49:37 GMT";
const REPR_DIGEST = `sha-256=:${Buffer.from(sha256(TEXT), "hex").toString("base64")}:`;

let stored: { headers: Headers };
const get = (headers: Record<string, string> = {}, method = "GET", query = "") =>
  fetchText(`/files/a.txt${query}`, { method, headers: withEtag(headers, stored) });

/** The headers of a response, except those that every response has. */
function ownHeaders(headers: Headers) {
  const common = /^(x-(?!content)|cross-origin|origin-agent|referrer|last-modified)/;
  return Object.fromEntries(
    [...headers]
      .filter(([name]) => !common.test(name))
      .map(([name, value]) => [name, value === stored.headers.get("ETag") ? ETAG : value]),
  );
}

const VALIDATORS = {
  etag: ETAG,
  "cache-control": "private, no-cache, no-transform",
  "x-content-type-options": "nosniff",
};
const CONTENT = {
  ...VALIDATORS,
  "accept-ranges": "bytes",
  "content-disposition": "attachment; filename=a.txt",
  "content-security-policy": "default-src 'none'; sandbox",
  "content-type": "text/plain; charset=utf-8",
  "repr-digest": REPR_DIGEST,
};

keepQuiet();
beforeEach(async () => {
  await reset();
  stored = await putFile("a.txt", TEXT, { headers: { "Content-Type": "text/plain" } });
});

describe("the headers are exactly these:", () => {
  test("200, GET and HEAD", async () => {
    const [got, head] = [await get(), await get({}, "HEAD")];
    expect([got.status, got.text, ownHeaders(got.headers)]).toEqual([
      200,
      TEXT,
      { ...CONTENT, "content-length": "10" },
    ]);
    expect([head.status, head.text, ownHeaders(head.headers)]).toEqual([200, "", ownHeaders(got.headers)]);
    const modifiedAgoMs = Date.now() - Date.parse(got.headers.get("Last-Modified") ?? "");
    expect(modifiedAgoMs).toBeGreaterThanOrEqual(0);
    expect(modifiedAgoMs).toBeLessThan(60_000);
    expect(got.headers.get("Last-Modified")).toMatch(/^\w{3}, \d{2} \w{3} \d{4} [\d:]{8} GMT$/);
  });

  test("206", async () => {
    const { status, text, headers } = await get({ Range: "bytes=2-4" });
    expect([status, text, ownHeaders(headers)]).toEqual([
      206,
      "234",
      { ...CONTENT, "content-length": "3", "content-range": "bytes 2-4/10" },
    ]);
    expect(headers.has("Last-Modified")).toBe(true);
  });

  test("304, without the headers of the content", async () => {
    const { status, text, headers } = await get({ "If-None-Match": ETAG });
    expect([status, text, ownHeaders(headers)]).toEqual([304, "", VALIDATORS]);
    expect(headers.has("Last-Modified")).toBe(true);
  });

  test("416, with the size of the file", async () => {
    const { status, text, headers } = await get({ Range: "bytes=10-" });
    expect([status, ownHeaders(headers)]).toEqual([
      416,
      {
        "accept-ranges": "bytes",
        "cache-control": "no-store",
        "content-range": "bytes */10",
        "content-type": "application/problem+json",
        "x-content-type-options": "nosniff",
      },
    ]);
    expect(JSON.parse(text)).toMatchObject({ type: "urn:sluice:problem:range-not-satisfiable" });
  });
});

describe("a range", () => {
  test.each<[string, number, string]>([
    ["bytes=0-0", 206, "0"],
    ["bytes=5-", 206, "56789"],
    ["bytes=-3", 206, "789"],
    ["bytes=-99", 206, TEXT],
    ["bytes=8-99", 206, "89"],
    ["bytes=0-", 206, TEXT],
    ["bytes=99-", 416, ""],
    ["bytes=10-10", 416, ""],
    ["bytes=-0", 416, ""],
    // Several ranges: the whole (RFC 9110 §14.2).
    ["bytes=0-1,3-4", 200, TEXT],
    ["bytes=0-0,-1", 200, TEXT],
    ["bytes=4-2", 200, TEXT],
    ["bytes=x", 200, TEXT],
    ["lines=0-1", 200, TEXT],
  ])("%s: %i", async (range, status, text) => {
    const response = await get({ Range: range });
    expect(response.status).toBe(status);
    if (status !== 416)
      expect([response.text, response.headers.get("Content-Length")]).toEqual([text, String(text.length)]);
    expect(response.headers.has("Content-Range")).toBe(status !== 200);
  });

  test("is ignored for HEAD (§14.2)", async () => {
    for (const Range of ["bytes=2-4", "bytes=99-"]) {
      const { status, headers } = await get({ Range }, "HEAD");
      expect([status, headers.get("Content-Length"), headers.has("Content-Range")]).toEqual([
        200,
        "10",
        false,
      ]);
    }
  });

  test("of an empty file is unsatisfiable (416) if it begins after the end, else the whole", async () => {
    await putFile("a.txt", "");
    const statuses = [];
    for (const Range of ["bytes=0-", "bytes=0-0", "bytes=-0", "bytes=-5"])
      statuses.push((await get({ Range })).status);
    expect(statuses).toEqual([416, 416, 416, 200]);
    expect((await get()).headers.get("Content-Length")).toBe("0");
  });

  test("has the same bytes as a slice of the whole", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(9), fc.nat(12), async (first, length) => {
        const { status, text } = await get({ Range: `bytes=${first}-${first + length}` });
        expect([status, text]).toEqual([206, TEXT.slice(first, first + length + 1)]);
      }),
      { numRuns: 40 },
    );
  });
});

describe("preconditions", () => {
  test.each<[string, Record<string, string>, number]>([
    ["If-Match", { "If-Match": ETAG }, 200],
    ["If-Match *", { "If-Match": "*" }, 200],
    ["If-Match, another", { "If-Match": '"x"' }, 412],
    ["If-Match, weak", { "If-Match": `W/${ETAG}` }, 412],
    ["If-None-Match, another", { "If-None-Match": '"x"' }, 200],
    ["If-None-Match, weak, one of two", { "If-None-Match": `"x", W/${ETAG}` }, 304],
    ["If-None-Match *", { "If-None-Match": "*" }, 304],
    ["If-Modified-Since, before", { "If-Modified-Since": LONG_AGO }, 200],
    ["If-Modified-Since, after", { "If-Modified-Since": FAR_AHEAD }, 304],
    ["If-Unmodified-Since, before", { "If-Unmodified-Since": LONG_AGO }, 412],
    ["If-Unmodified-Since, after", { "If-Unmodified-Since": FAR_AHEAD }, 200],
    [
      "If-None-Match beats If-Modified-Since",
      { "If-None-Match": '"x"', "If-Modified-Since": FAR_AHEAD },
      200,
    ],
    ["If-Match beats If-Unmodified-Since", { "If-Match": ETAG, "If-Unmodified-Since": LONG_AGO }, 200],
    ["a failed If-Match comes before If-None-Match", { "If-Match": '"x"', "If-None-Match": ETAG }, 412],
    ["with a range: the precondition is evaluated first", { "If-None-Match": ETAG, Range: "bytes=99-" }, 304],
    ["with a range: the precondition holds", { "If-Match": ETAG, Range: "bytes=0-1" }, 206],
    ["If-Range", { "If-Range": ETAG, Range: "bytes=0-1" }, 206],
    ["If-Range, another", { "If-Range": '"x"', Range: "bytes=0-1" }, 200],
    ["If-Range, another, of a range past the end", { "If-Range": '"x"', Range: "bytes=99-" }, 200],
    ["If-Range, weak", { "If-Range": `W/${ETAG}`, Range: "bytes=0-1" }, 200],
    ["If-Range, another date", { "If-Range": FAR_AHEAD, Range: "bytes=0-1" }, 200],
    ["If-Range without Range", { "If-Range": ETAG }, 200],
  ])("%s: %o", async (_name, headers, status) => {
    expect((await get(headers)).status).toBe(status);
    if (status !== 206) expect((await get(headers, "HEAD")).status).toBe(status);
  });

  test("with the file's own Last-Modified", async () => {
    const date = (await get()).headers.get("Last-Modified") ?? "";
    expect((await get({ "If-Modified-Since": date })).status).toBe(304);
    expect((await get({ "If-Unmodified-Since": date })).status).toBe(200);
    // A date alone is no strong validator (§13.1.5): the whole file.
    const { status, text } = await get({ "If-Range": date, Range: "bytes=0-1" });
    expect([status, text]).toEqual([200, TEXT]);
  });

  test("do not matter if there is no file: 404", async () => {
    for (const name of ["If-Match", "If-None-Match"]) {
      expect((await fetchText("/files/none", { headers: { [name]: "*" } })).status).toBe(404);
    }
  });
});

describe("served bytes cannot run as a page or script", () => {
  const inline = async (type: string) => {
    await putFile("a.txt", TEXT, { headers: { "Content-Type": type } });
    const { headers } = await get({}, "GET", "?disposition=inline");
    const policy = headers.get("Content-Security-Policy");
    // A browser loads audio and video again, from a page of its own.
    const isMedia = /^(?:audio|video)/.test(type);
    expect([policy, headers.get("X-Content-Type-Options")]).toEqual([
      isMedia
        ? "default-src 'none'; media-src 'self'; style-src 'unsafe-inline'; sandbox allow-same-origin"
        : "default-src 'none'; sandbox",
      "nosniff",
    ]);
    const attached = await get();
    expect(attached.headers.get("Content-Security-Policy")).toBe("default-src 'none'; sandbox");
    return headers.get("Content-Disposition")?.split(";")[0];
  };

  test.each([
    "text/plain",
    "image/png",
    "IMAGE/JPEG",
    "audio/mpeg",
    "video/mp4",
    "text/plain; charset=utf-16",
  ])("%s is shown in a window if that is requested", async (type) => {
    expect(await inline(type)).toBe("inline");
    expect((await get()).headers.get("Content-Disposition")).toMatch(/^attachment/);
  });

  test.each([
    "text/html",
    "image/svg+xml",
    "application/xhtml+xml",
    "text/xml",
    "application/pdf",
    "text/javascript",
    "text/css",
    "application/octet-stream",
    "multipart/x-mixed-replace",
    "nonsense",
  ])("%s is never shown in a window", async (type) => {
    expect(await inline(type)).toBe("attachment");
  });

  test("any other disposition is rejected", async () => {
    expect((await get({}, "GET", "?disposition=x")).status).toBe(422);
  });
});

test.each([
  ["plain.txt", "attachment; filename=plain.txt"],
  ["two words.txt", 'attachment; filename="two words.txt"'],
  ["say %22hi%22.txt", 'attachment; filename="say \\"hi\\".txt"'],
  ["naïve 😀.pdf", "attachment; filename=\"na?ve ??.pdf\"; filename*=UTF-8''na%C3%AFve%20%F0%9F%98%80.pdf"],
  ["مرحبا", "attachment; filename=\"?????\"; filename*=UTF-8''%D9%85%D8%B1%D8%AD%D8%A8%D8%A7"],
  ["50%25.txt", "attachment; filename=50%25.txt; filename*=UTF-8''50%2525.txt"],
  // The character that turns text around is not kept.
  ["a;b\u202e.txt", 'attachment; filename="a;b.txt"'],
])("%s is saved under its name, which is sent in both forms if one is not enough", async (sent, header) => {
  const { body } = await postForm(
    "/upload-file",
    formBody([filePart("x", `name="file"; filename="${sent}"`)]),
  );
  expect((await fetchText(body.url)).headers.get("Content-Disposition")).toBe(header);
});

describe("a file that is replaced", () => {
  /** The bucket, with something that happens before each read. */
  const readAfter = (before: () => Promise<unknown>) => ({
    FILES: changed(env.FILES, {
      get: async (key: string, options: R2GetOptions) => {
        await before();
        return env.FILES.get(key, options);
      },
    }),
  });

  test("between the look-up in the catalogue and the read from R2 is read again, headers included", async () => {
    let reads = 0;
    let replaced: { headers: Headers } | undefined;
    const variables = readAfter(async () => {
      if (++reads > 1) return;
      replaced = await putFile("a.txt", "replaced!");
      await collect();
    });
    const { status, text, headers } = await fetchText("/files/a.txt", { variables });
    expect([status, text, headers.get("ETag"), headers.get("Content-Length"), reads]).toEqual([
      200,
      "replaced!",
      replaced?.headers.get("ETag"),
      "9",
      2,
    ]);
  });

  test("again at every try gets a 500, never the bytes of another version", async () => {
    let reads = 0;
    const variables = readAfter(async () => {
      await putFile("a.txt", `version ${++reads}`);
      await collect();
    });
    expect((await fetchText("/files/a.txt", { variables })).status).toBe(500);
    expect(reads).toBe(3);
  });

  test("and then removed is a 404", async () => {
    const variables = readAfter(async () => {
      await fetchText("/files/a.txt", { method: "DELETE" });
      await collect();
    });
    expect((await fetchText("/files/a.txt", { variables })).status).toBe(404);
  });
});
