import { expect, test } from "vitest";
import { splitField } from "../../src/kernel/headers.ts";
import { callForJson, callWorker } from "../support/call.ts";
import { keepQuiet } from "../support/quiet.ts";

keepQuiet();

const MAX = 64 * 1024;

test.each([
  ["X-Whatever", MAX, 200],
  ["X-Whatever", MAX + 1, 431],
  ["Prefer", MAX + 1, 431],
  ["Cookie", MAX + 1, 431],
])("%s with %i characters is a %i", async (name, length, status) => {
  const { response } = await callWorker("/healthz", { headers: { [name]: "x".repeat(length) } });
  await response.text();
  expect(response.status).toBe(status);
});

test("the 431 names the header", async () => {
  const { body } = await callForJson("/tasks", { headers: { Prefer: '"'.repeat(100_000) } });
  expect(body).toMatchObject({ type: "urn:sluice:problem:headers-too-large", status: 431 });
  expect(body.detail).toMatch(/^The header prefer /);
});

test.each<[string, "," | ";", string[]]>([
  ["", ",", [""]],
  ["a", ",", ["a"]],
  ["a, b ,c", ",", ["a", "b", "c"]],
  ['a="x, y", b', ",", ['a="x, y"', "b"]],
  ['a="x\\", y", b', ",", ['a="x\\", y"', "b"]],
  ['a="x, b', ",", ['a="x, b']],
  ['a="x\\', ",", ['a="x\\']],
  ['a;b="c;d";e', ";", ["a", 'b="c;d"', "e"]],
  ["a;,b", ",", ["a;", "b"]],
])("%j is split at each %s", (field, separator, members) => {
  expect(splitField(field, separator)).toEqual(members);
});

/** Every header that a route reads, and a request whose route reads it. */
const READ: Record<string, { method: string; path: string; body?: string }> = {
  Authorization: { method: "GET", path: "/healthz/none" },
  Accept: { method: "GET", path: "/task-types" },
  "Content-Type": { method: "POST", path: "/upload-file", body: "x" },
  "Content-Disposition": { method: "PUT", path: "/files/hostile", body: "x" },
  "Content-Digest": { method: "PUT", path: "/files/hostile", body: "x" },
  "Repr-Digest": { method: "PUT", path: "/files/hostile", body: "x" },
  "Content-MD5": { method: "PUT", path: "/files/hostile", body: "x" },
  "If-Match": { method: "GET", path: "/files/hostile" },
  "If-None-Match": { method: "GET", path: "/files/hostile" },
  "If-Modified-Since": { method: "GET", path: "/files/hostile" },
  "If-Range": { method: "GET", path: "/files/hostile" },
  Range: { method: "GET", path: "/files/hostile" },
  "Idempotency-Key": { method: "POST", path: "/tasks", body: '{"type": "none"}' },
  Prefer: { method: "POST", path: "/tasks", body: '{"type": "none"}' },
  "Last-Event-ID": { method: "GET", path: "/tasks/s0-none/events" },
  "Upload-Metadata": { method: "POST", path: "/uploads" },
  "Upload-Concat": { method: "POST", path: "/uploads" },
  "Upload-Checksum": { method: "POST", path: "/uploads", body: "x" },
  "Upload-Length": { method: "POST", path: "/uploads" },
  "Upload-Complete": { method: "POST", path: "/uploads" },
  "Cache-Control": { method: "GET", path: "/fetch/cache-wide/todos" },
  Via: { method: "GET", path: "/fetch/cache-wide/todos" },
  Connection: { method: "GET", path: "/fetch/cache-wide/todos" },
  Origin: { method: "GET", path: "/task-types" },
  Host: { method: "GET", path: "/task-types" },
  "X-Request-Id": { method: "GET", path: "/healthz" },
};

const HOSTILE = [
  '\\"',
  '"',
  " ",
  "\t ",
  ",",
  "; ",
  '=""',
  'a="',
  "a=b;",
  "a,",
  '"a" ',
  "%25",
  "-",
  "0",
  "0,",
  "bytes=0-0,",
  ":a:,",
  "(",
  "sha-256=:",
  "W/",
  "Ab==",
];

/** Each piece as often as it takes, after each beginning: the longest headers that are read. */
const VALUES = HOSTILE.flatMap((piece) => {
  const repeated = piece.repeat(Math.ceil(MAX / piece.length));
  return ["", '"', `x="`].map((beginning) => ({
    piece,
    value: `${(beginning + repeated).slice(0, MAX - 1)}x`,
  }));
});

/** What takes steps in the square of its length takes minutes. A busy machine is slow once, and not each time. */
const MAX_MS = 1_000;
const TRIES = 3;

test.each(Object.entries(READ))(
  "%s is read in linear time, whatever it says",
  async (name, { path, ...init }) => {
    const tus: Record<string, string> =
      name.startsWith("Upload-") && name !== "Upload-Complete" ? { "Tus-Resumable": "1.0.0" } : {};
    const timeMs = async (piece: string, value: string): Promise<number> => {
      const startedAtMs = Date.now();
      const { response } = await callWorker(path, {
        ...init,
        headers: { "Content-Type": "application/json", ...tus, [name]: value },
      });
      await response.text();
      expect([piece, response.status]).toEqual([piece, expect.toSatisfy((status) => status < 500)]);
      return Date.now() - startedAtMs;
    };
    const slow: string[] = [];
    for (const { piece, value } of VALUES) {
      let tries = 0;
      while (tries < TRIES && (await timeMs(piece, value)) > MAX_MS) tries++;
      if (tries === TRIES) slow.push(value.slice(0, 20));
    }
    expect(slow).toEqual([]);
  },
);
