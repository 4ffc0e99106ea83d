/** PUT over HTTP; and what becomes of the files of a form when the catalogue fails in the middle. */
import { env, reset } from "cloudflare:test";
import { createHash } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import { MIN_PART_SIZE } from "../../../src/files/store/parts.ts";
import { catalogueOf } from "../../../src/files/store/shards.ts";
import { callForJson } from "../../support/call.ts";
import { ETAG, fetchText, postForm, putFile, sha256, withEtag } from "../../support/files.ts";
import { filePart, formBody, streamOf } from "../../support/form.ts";
import { keepQuiet } from "../../support/quiet.ts";
import {
  catalogueRows,
  changedCatalogue,
  NOTHING,
  objectKeys,
  watchedBucket,
  whatIsLeft,
} from "../../support/stored.ts";

const MIB = 1024 * 1024;
const LARGE = "x".repeat(MIN_PART_SIZE + 1);

keepQuiet();
beforeEach(() => reset());

describe("PUT /files/{id}", () => {
  test("creates a file, then replaces it; the old bytes are collected", async () => {
    const created = await putFile("report.pdf", "one", { headers: { "Content-Type": "application/pdf" } });
    expect([created.status, created.headers.get("Location"), created.headers.get("ETag")]).toEqual([
      201,
      "http://localhost/files/report.pdf",
      created.body.etag,
    ]);
    expect(created.body).toMatchObject({
      id: "report.pdf",
      filename: "report.pdf",
      contentType: "application/pdf",
      size: 3,
    });
    const replaced = await putFile("report.pdf", "two!");
    expect([replaced.status, replaced.headers.get("Location"), replaced.headers.get("ETag")]).toEqual([
      200,
      null,
      replaced.body.etag,
    ]);
    expect(replaced.body.etag).not.toBe(created.body.etag);
    expect((await fetchText("/files/report.pdf")).text).toBe("two!");
    const { objects, files } = await whatIsLeft();
    expect([objects.length, files]).toEqual([1, ["report.pdf"]]);
  });

  test("accepts a body of unknown length, an empty body, and no body", async () => {
    const chunk = new Uint8Array(MIB).fill(7);
    const streamed = await putFile("a", streamOf(Array.from({ length: 11 }, () => chunk)));
    expect([streamed.status, streamed.body.size]).toEqual([201, 11 * MIB]);
    expect([(await putFile("b", "")).body.size, (await putFile("c", null)).body.size]).toEqual([0, 0]);
  });

  test("chooses parts so large that 10,000 are enough for the announced length", async () => {
    const { seen, variables } = watchedBucket();
    const content = streamOf(Array.from({ length: 13 }, () => new Uint8Array(MIB)));
    await putFile("a", content, {
      variables: { ...variables, MAX_FILE_BYTES: 60_000 * MIB },
      headers: { "Content-Length": String(50_000 * MIB + 1) },
    });
    // It announces more than it sends: over HTTP that would be a body that breaks off.
    expect(seen.partSizes[0]).toBe(6 * MIB);
  });

  test("takes the name of the file from Content-Disposition, or else from its id", async () => {
    const named = async (header: string) =>
      (await putFile("a", "x", { headers: { "Content-Disposition": header } })).body.filename;
    expect(await named("attachment; filename=\"x\"; filename*=UTF-8''na%C3%AFve%20%F0%9F%98%80.txt")).toBe(
      "naïve 😀.txt",
    );
    expect(await named('attachment; filename="../b.txt"')).toBe("b.txt");
    expect(await named('attachment; filename=".."')).toBe("a");
    expect(await named("inline")).toBe("a");
  });

  test.each([
    ["a", 201],
    ["A-1_b..c", 201],
    ["x".repeat(128), 201],
    ["x".repeat(129), 422],
    [".htaccess", 422],
    ["a%20b", 422],
    ["a%2Fb", 422],
    ["%2e%2e%2fa", 422],
    ["%C3%A9", 422],
    ["a%00", 422],
  ])("the id %s: %i", async (id, status) => {
    const response = await putFile(id, "x");
    expect(response.status).toBe(status);
    if (status !== 201) expect(await whatIsLeft()).toEqual(NOTHING);
  });

  test("without an id is not a route", async () => {
    expect((await putFile("", "x")).status).toBe(405);
    expect((await callForJson("/files", { method: "PUT", body: "x" })).status).toBe(405);
  });

  test.each<[string, Record<string, string>, number]>([
    ["If-None-Match: *", { "If-None-Match": "*" }, 412],
    ["If-None-Match with its ETag", { "If-None-Match": ETAG }, 412],
    ["If-None-Match with another", { "If-None-Match": '"x"' }, 200],
    ["If-Match: *", { "If-Match": "*" }, 200],
    ["If-Match with its ETag", { "If-Match": ETAG }, 200],
    ["If-Match with its ETag, weak", { "If-Match": `W/${ETAG}` }, 412],
    ["If-Match with another", { "If-Match": '"x"' }, 412],
    ["If-Unmodified-Since long ago", { "If-Unmodified-Since": "Sun, 06 Nov 1994 08:49:37 GMT" }, 412],
    [
      "If-Modified-Since, which is not for PUT",
      { "If-Modified-Since": "Sun, 06 Nov 2094 08:49:37 GMT" },
      200,
    ],
  ])("replaces under the precondition %s: %i", async (_name, headers, status) => {
    const before = await putFile("a", "one");
    let fetched = 0;
    const body = streamOf([new TextEncoder().encode("two")], () => {
      fetched++;
    });
    const response = await putFile("a", body, { headers: withEtag(headers, before) });
    expect(response.status).toBe(status);
    expect((await fetchText("/files/a")).text).toBe(status === 200 ? "two" : "one");
    // A failed precondition is reported before the body is read.
    if (status === 412)
      expect([response.body.type, fetched]).toEqual(["urn:sluice:problem:precondition-failed", 0]);
    expect((await whatIsLeft()).objects).toHaveLength(1);
  });

  test.each<[string, Record<string, string>, number]>([
    ["If-None-Match: *", { "If-None-Match": "*" }, 201],
    ["If-Match: *", { "If-Match": "*" }, 412],
    ["If-Match with an ETag", { "If-Match": '"x"' }, 412],
  ])("creates under the precondition %s: %i", async (_name, headers, status) => {
    expect((await putFile("a", "two", { headers })).status).toBe(status);
    expect((await whatIsLeft()).files).toEqual(status === 201 ? ["a"] : []);
  });

  test("of several concurrent creations with If-None-Match: *, exactly one succeeds; the others leave no bytes", async () => {
    // All of them have found no file before any of them sends a byte.
    const together = Promise.withResolvers<void>();
    let looked = 0;
    const bodies = ["one", "two", "three", "four"].map((text) =>
      streamOf([new TextEncoder().encode(text)], async () => {
        if (++looked === 4) together.resolve();
        await together.promise;
      }),
    );
    const responses = await Promise.all(
      bodies.map(async (body) => putFile("a", body, { headers: { "If-None-Match": "*" } })),
    );
    expect(responses.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([201, 412, 412, 412]);
    const winner = responses.find(({ status }) => status === 201);
    expect((await fetchText("/files/a")).headers.get("ETag")).toBe(winner?.headers.get("ETag"));
    expect((await whatIsLeft()).objects).toHaveLength(1);
  });

  const sha512 = createHash("sha512").update("hello").digest("base64");
  const sha = Buffer.from(sha256("hello"), "hex").toString("base64");
  const md5 = createHash("md5").update("hello").digest("base64");
  test.each<[string, Record<string, string>, string, number]>([
    ["Content-Digest", { "Content-Digest": `sha-256=:${sha}:` }, "hello", 201],
    ["Repr-Digest with sha-512", { "Repr-Digest": `sha-512=:${sha512}:` }, "hello", 201],
    ["Content-MD5", { "Content-MD5": md5 }, "hello", 201],
    ["an unknown algorithm", { "Content-Digest": "crc32=:AAAA:" }, "hello", 400],
    ["a name that is not an algorithm", { "Content-Digest": `constructor=:${sha}:` }, "hello", 400],
    ["a Content-Length beyond any number", { "Content-Length": "9".repeat(30) }, "hello", 413],
    ["Content-Digest, wrong", { "Content-Digest": `sha-256=:${sha}:` }, "hullo", 400],
    ["Content-Digest, wrong for a large file", { "Content-Digest": `sha-256=:${sha}:` }, LARGE, 400],
    ["Repr-Digest, wrong", { "Repr-Digest": `sha-512=:${sha512}:` }, "hullo", 400],
    ["Content-MD5, wrong", { "Content-MD5": md5 }, "hullo", 400],
    [
      "one of two, wrong",
      { "Content-Digest": `sha-256=:${sha}:`, "Content-MD5": `${"A".repeat(22)}==` },
      "hello",
      400,
    ],
    ["malformed", { "Content-Digest": `sha-256=${sha}` }, "hello", 400],
    ["Content-Range", { "Content-Range": "bytes 0-4/10" }, "hello", 400],
    ["Content-Encoding", { "Content-Encoding": "gzip" }, "hello", 415],
    ["Content-Encoding: identity", { "Content-Encoding": "Identity" }, "hello", 201],
    ["a Content-Length that is too large", { "Content-Length": "99999999" }, "hello", 413],
  ])("%s", async (_name, headers, content, status) => {
    const { seen, variables } = watchedBucket();
    const response = await putFile("a", content, {
      headers,
      variables: { ...variables, MAX_FILE_BYTES: 12 * MIB },
    });
    expect([response.status, seen.open]).toEqual([status, 0]);
    if (status !== 201) expect(await whatIsLeft()).toEqual(NOTHING);
  });

  test("an invalid request replaces nothing", async () => {
    await putFile("a", "one");
    const headers = { "Content-Digest": `sha-256=:${sha}:` };
    expect((await putFile("a", "hullo", { headers })).body.type).toBe("urn:sluice:problem:digest-mismatch");
    const dead = streamOf([new Uint8Array(6 * MIB), new Uint8Array(1)], (handedOut) => {
      if (handedOut > 0) throw new Error("the connection is reset");
    });
    expect((await putFile("a", dead)).body.type).toBe("urn:sluice:problem:client-gone");
    expect((await fetchText("/files/a")).text).toBe("one");
    expect((await whatIsLeft()).objects).toHaveLength(1);
  });

  test("a body longer than MAX_FILE_BYTES without a Content-Length is rejected while it arrives", async () => {
    const variables = { MAX_FILE_BYTES: MIB };
    const body = streamOf(Array.from({ length: 100 }, () => new Uint8Array(64 * 1024)));
    expect((await putFile("a", body, { variables })).body).toMatchObject({
      status: 413,
      detail: "A file can have at most 1048576 bytes here.",
    });
    expect(await whatIsLeft()).toEqual(NOTHING);
    expect((await putFile("a", "x".repeat(MIB), { variables })).status).toBe(201);
  });
});

describe("a form whose files cannot all be made visible", () => {
  const form = formBody([filePart("one"), filePart("two"), filePart("three")]);

  test("keeps none of them: they are committed in one step or not at all", async () => {
    let commits = 0;
    const { variables } = changedCatalogue({
      commit: async () => {
        commits++;
        throw new Error("away");
      },
    });
    expect((await postForm("/files", form, { variables })).status).toBe(503);
    expect(commits).toBeGreaterThan(1);
    expect((await catalogueRows()).files).toEqual([]);
  });

  test("and cannot be discarded either leaves complete files or none, never a file without its bytes", async () => {
    const away = async () => Promise.reject(new Error("away"));
    const { variables } = changedCatalogue({
      commit: async (call) => {
        await call();
        throw new Error("the response was lost");
      },
      remove: away,
      discard: away,
    });
    expect((await postForm("/files", formBody([filePart("one")]), { variables })).status).toBe(503);
    const { files } = await catalogueRows();
    const keys = await objectKeys();
    expect(files.map(({ blob }) => blob).filter((blob) => !keys.includes(blob))).toEqual([]);
  });
});

test("a PUT that took longer than its reservation gets a 409 and leaves nothing", async () => {
  const { variables } = changedCatalogue({
    commit: async (call) => {
      const [stray] = (await catalogueRows()).strays;
      await catalogueOf(env, "a").discard(stray?.blob ?? "");
      return call();
    },
  });
  const { status, body } = await putFile("a", "one", { variables });
  expect([status, body.type]).toEqual([409, "urn:sluice:problem:conflict"]);
  expect(await whatIsLeft()).toEqual(NOTHING);
});
