/**
 * Resumable Uploads for HTTP, requirement by requirement: what the draft says a server MUST or SHOULD do, a request to
 * which that applies, and what must come. Sections and wording are those of draft -12 (the editors' copy), as far as
 * they are about servers that send no interim responses. Of the changes in -13, which speaks interop version 10 as well, none
 * asks for more: HEAD no longer has to say whether the upload is complete and how long it is, and may.
 *
 * Left out: requirements on 104 responses (§4.2.2, §4.4.2, §5), which Workers cannot send, and on what servers are
 * configured to do (§13). Those on clients are here where a server is asked to reject what breaks them.
 */
import { SHA256 } from "@stablelib/sha256";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { sha256 } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import {
  countAppended,
  digest,
  fileOf,
  pathOf,
  send,
  stalledBody,
  type UploadResponse,
  withoutLength,
} from "../../support/uploads.ts";

keepQuiet();

type Extra = Record<string, string | number>;

const PARTIAL = { "Content-Type": "application/partial-upload" };
const INCOMPLETE = { "Upload-Complete": "?0" };
const COMPLETE = { "Upload-Complete": "?1" };
const IANA = "https://iana.org/assignments/http-problem-types#";
const MAX = { variables: { MAX_FILE_BYTES: 10 } };

const post = async (body: BodyInit | null, headers: Extra, options = {}) =>
  send("POST", "/uploads", { body, headers, ...options });
const patch = async (path: string, offset: number | string, body: BodyInit | null, headers: Extra) =>
  send("PATCH", path, { body, headers: { ...PARTIAL, "Upload-Offset": offset, ...headers } });
const head = async (path: string) => send("HEAD", path);
const started = async (body: string | null = null, headers: Extra = {}) =>
  pathOf(await post(body, { ...INCOMPLETE, ...headers }));
const finished = async () => pathOf(await post("hello", { ...COMPLETE, "Content-Length": 5 }));

interface Expected {
  status: number;
  offset?: string | null;
  complete?: string | null;
  length?: string | null;
  /** Whether Upload-Limit is there, with the time that is left if the upload lives on. */
  limit?: RegExp | null;
  problem?: string;
  headers?: Record<string, string | RegExp | null>;
}

const LIMIT = /^max-size=\d+, max-append-size=\d+$/;
const LIMIT_WITH_AGE = /^max-size=\d+, max-append-size=\d+, max-age=\d+$/;

/** What the response must have; `undefined` leaves a field open. */
function check(response: UploadResponse, expected: Expected): void {
  const { status, offset, complete, length, limit, problem, headers = {} } = expected;
  expect(response.status, response.text).toBe(status);
  const fields = {
    "Upload-Offset": offset,
    "Upload-Complete": complete,
    "Upload-Length": length,
    "Upload-Limit": limit,
    ...headers,
  };
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    const sent = response.headers.get(name);
    if (value instanceof RegExp) expect(sent, name).toMatch(value);
    else expect(sent, name).toBe(value);
  }
  if (problem !== undefined) expect(response.body?.type).toBe(`${IANA}${problem}`);
}

type Row = [section: string, requirement: string, act: () => Promise<UploadResponse>, expected: Expected];

const STATE: Row[] = [
  [
    "4.1.1",
    "an Upload-Offset that is not a non-negative Integer MUST be ignored: so it is missing",
    async () => patch(await started(), "-1", "x", INCOMPLETE),
    { status: 400, offset: "0", complete: "?0", limit: LIMIT_WITH_AGE },
  ],
  [
    "4.1.2",
    "an Upload-Complete that is not a Boolean MUST be ignored: so it is missing",
    async () => patch(await started("hel"), 3, "lo", { "Upload-Complete": "1" }),
    { status: 400, offset: "3", complete: "?0", limit: LIMIT_WITH_AGE },
  ],
  [
    "4.1.2",
    "an upload is complete if a request said so and its content was fully processed",
    async () => head(await finished()),
    { status: 204, offset: "5", complete: "?1" },
  ],
  [
    "4.1.2",
    "an upload that has its length is not complete until a request says so",
    async () => head(await started("hello", { "Upload-Length": 5 })),
    { status: 204, offset: "5", complete: "?0", length: "5" },
  ],
  [
    "4.1.3",
    "an Upload-Length that is not a non-negative Integer MUST be ignored",
    async () => post(null, { ...INCOMPLETE, "Upload-Length": '"5"' }),
    { status: 201, length: null },
  ],
  [
    "4.1.3",
    "both indicators of the length in one request MUST match",
    async () => post("hello", { ...COMPLETE, "Content-Length": 5, "Upload-Length": 6 }),
    { status: 400, problem: "inconsistent-upload-length", complete: "?0", limit: LIMIT },
  ],
  [
    "4.1.3",
    "indicators in different requests MUST match: Upload-Length",
    async () =>
      patch(await started(null, { "Upload-Length": 5 }), 0, "x", { ...INCOMPLETE, "Upload-Length": 6 }),
    {
      status: 400,
      problem: "inconsistent-upload-length",
      offset: "0",
      complete: "?0",
      length: "5",
      limit: LIMIT_WITH_AGE,
    },
  ],
  [
    "4.1.3",
    "indicators in different requests MUST match: Content-Length of the last",
    async () =>
      patch(await started(null, { "Upload-Length": 5 }), 0, "x", { ...COMPLETE, "Content-Length": 1 }),
    {
      status: 400,
      problem: "inconsistent-upload-length",
      offset: "0",
      complete: "?0",
      limit: LIMIT_WITH_AGE,
    },
  ],
];

const LIMITS: Row[] = [
  [
    "4.1.4",
    "OPTIONS of a resource that creates uploads MUST have Accept-Patch with the full media type, and SHOULD have limits",
    async () => send("OPTIONS", "/uploads"),
    { status: 200, limit: LIMIT, headers: { "Accept-Patch": /(^|, )application\/partial-upload($|,)/ } },
  ],
  [
    "4.1.4",
    "413 at creation MUST include Upload-Limit: a length beyond max-size",
    async () => post(null, { ...INCOMPLETE, "Upload-Length": 11 }, MAX),
    { status: 413, complete: "?0", limit: /^max-size=10,/ },
  ],
  [
    "4.1.4",
    "413 at creation MUST include Upload-Limit: content beyond max-size",
    async () => post("hello world", { ...COMPLETE, "Content-Length": 11 }, MAX),
    { status: 413, complete: "?0", limit: /^max-size=10,/ },
  ],
  [
    "4.1.4",
    "413 at creation MUST include Upload-Limit: content of unknown length beyond max-size",
    async () => post(withoutLength("hello world"), COMPLETE, MAX),
    { status: 413, complete: "?0", limit: /^max-size=10,/, headers: { Location: null } },
  ],
  [
    "4.1.4",
    "413 at an append MUST include Upload-Limit: a length beyond max-size",
    async () => patch(await started(), 0, "x", { ...INCOMPLETE, "Upload-Length": 50_000_000_001 }),
    { status: 413, offset: "0", complete: "?0", limit: LIMIT_WITH_AGE },
  ],
  [
    "4.1.4",
    "413 at an append MUST include Upload-Limit: content beyond max-size",
    async () =>
      send("PATCH", await started(), {
        ...MAX,
        body: withoutLength("hello world"),
        headers: { ...PARTIAL, ...INCOMPLETE, "Upload-Offset": 0 },
      }),
    { status: 413, offset: "0", complete: "?0", limit: /^max-size=10,.* max-age=/ },
  ],
];

/** What the announced `max-append-size` allows, and one more. */
const LONG = 100_000_001;
const zeros = (size: number) => {
  let left = size;
  return new ReadableStream({
    type: "bytes",
    pull(controller) {
      const chunk = new Uint8Array(Math.min(left, 4 * 1024 * 1024));
      left -= chunk.length;
      controller.enqueue(chunk);
      if (left === 0) controller.close();
    },
  });
};

/** Appends so many zeros without hashing them: that takes seconds, and their hash is not what these rows are about. */
async function patchZeros(path: string, size: number): Promise<UploadResponse> {
  const spy = vi.spyOn(SHA256.prototype, "update").mockReturnThis();
  onTestFinished(() => spy.mockRestore());
  return patch(path, 3, zeros(size), COMPLETE);
}

const APPEND_SIZE: Row[] = [
  [
    "4.1.4",
    "a creation with more than max-append-size may be rejected, and MUST have Upload-Limit then",
    async () => post("x", { ...COMPLETE, "Content-Length": LONG }),
    { status: 413, complete: "?0", limit: LIMIT, headers: { Location: null } },
  ],
  [
    "4.1.4",
    "so may an append, and one of any length that ends nowhere",
    async () => patch(await started("hel"), 3, "lo", { ...INCOMPLETE, "Content-Length": "9".repeat(30) }),
    { status: 413, offset: "3", complete: "?0", limit: LIMIT_WITH_AGE },
  ],
  [
    "4.1.4",
    "so may one of unknown length, which then goes on from Upload-Offset",
    async () => patchZeros(await started("hel"), LONG),
    { status: 413, complete: "?0", limit: LIMIT_WITH_AGE },
  ],
  [
    "4.1.4",
    "max-append-size itself is not too much",
    async () => patchZeros(await started("hel"), LONG - 1),
    { status: 200, offset: String(LONG + 2), complete: "?1" },
  ],
];

const CREATION: Row[] = [
  [
    "4.2.2",
    "after all content of ?0, MUST have Location and limits; 201 is RECOMMENDED",
    async () => post("hel", INCOMPLETE),
    {
      status: 201,
      offset: "3",
      complete: "?0",
      limit: LIMIT_WITH_AGE,
      headers: { Location: /\/uploads\/.+/ },
    },
  ],
  [
    "4.2.2",
    "empty content with ?0 is a creation too",
    async () => post(null, INCOMPLETE),
    {
      status: 201,
      offset: "0",
      complete: "?0",
      limit: LIMIT_WITH_AGE,
      headers: { Location: /\/uploads\/.+/ },
    },
  ],
  [
    "4.2.2",
    "after all content of ?1, the response is that of the target",
    async () => post("hello", COMPLETE),
    { status: 201, offset: "5", complete: "?1", limit: LIMIT_WITH_AGE },
  ],
  [
    "4.2.2",
    "empty content with ?1 is an empty representation",
    async () => post(null, COMPLETE),
    { status: 201, offset: "0", complete: "?1", length: "0" },
  ],
  [
    "4.2.2",
    "the length of Upload-Length MUST be recorded",
    async () => head(await started("hel", { "Upload-Length": 5 })),
    { status: 204, length: "5" },
  ],
  [
    "4.2.2",
    "a request that says nothing of Upload-Complete creates no upload",
    async () => post("hello", {}),
    { status: 400, complete: "?0", limit: LIMIT, headers: { Location: null } },
  ],
  [
    "4.2.2",
    "a new upload has no offset that a client could give",
    async () => post("hello", { ...INCOMPLETE, "Upload-Offset": 0 }),
    { status: 400, complete: "?0", limit: LIMIT, headers: { Location: null } },
  ],
  [
    "13",
    "metadata MUST be validated",
    async () => post("x", { ...COMPLETE, "Content-Disposition": `inline; filename="${"x".repeat(256)}"` }),
    { status: 422, complete: "?0", limit: LIMIT, headers: { Location: null } },
  ],
];

const RETRIEVAL: Row[] = [
  [
    "4.3.2",
    "HEAD MUST have offset, completeness and limits, and SHOULD forbid caching; no length if none was given",
    async () => head(await started("hel")),
    {
      status: 204,
      offset: "3",
      complete: "?0",
      length: null,
      limit: LIMIT_WITH_AGE,
      headers: { "Cache-Control": "no-store" },
    },
  ],
  [
    "4.3.2",
    "HEAD MUST have the length if it was given",
    async () => head(await started("hel", { "Upload-Length": 5 })),
    { status: 204, offset: "3", complete: "?0", length: "5", limit: LIMIT_WITH_AGE },
  ],
  [
    "4.3.2",
    "HEAD of a complete upload says so",
    async () => head(await finished()),
    { status: 204, offset: "5", complete: "?1", length: "5", limit: LIMIT_WITH_AGE },
  ],
  [
    "4.3.2",
    "GET of an upload under way retrieves the offset as HEAD does",
    async () => send("GET", await started("hel")),
    {
      status: 200,
      offset: "3",
      complete: "?0",
      limit: LIMIT_WITH_AGE,
      headers: { "Cache-Control": "no-store" },
    },
  ],
  [
    "4.3.2",
    "GET of a complete upload does so too",
    async () => send("GET", await finished()),
    { status: 200, offset: "5", complete: "?1", limit: LIMIT_WITH_AGE },
  ],
  [
    "4.3.2",
    "a rejected GET has the state too: a range beyond the file",
    async () => send("GET", await finished(), { headers: { Range: "bytes=9-" } }),
    { status: 416, offset: "5", complete: "?1", limit: LIMIT_WITH_AGE },
  ],
  [
    "4.3.2",
    "a rejected GET has the state too: a precondition",
    async () => send("GET", await finished(), { headers: { "If-Match": '"x"' } }),
    { status: 412, offset: "5", complete: "?1", limit: LIMIT_WITH_AGE },
  ],
  [
    "4.3.2",
    "an upload that does not exist has no state",
    async () => head(`/uploads/${crypto.randomUUID()}`),
    { status: 404, offset: null },
  ],
];

const APPEND: Row[] = [
  [
    "4.4.2",
    "another offset MUST be rejected with 409 and the right Upload-Offset",
    async () => patch(await started("hel"), 2, "llo", INCOMPLETE),
    { status: 409, problem: "mismatching-upload-offset", offset: "3", complete: "?0", limit: LIMIT_WITH_AGE },
  ],
  [
    "4.4.1",
    "the request MUST have Upload-Offset",
    async () => send("PATCH", await started("hel"), { body: "lo", headers: { ...PARTIAL, ...COMPLETE } }),
    { status: 400, offset: "3", complete: "?0", limit: LIMIT_WITH_AGE },
  ],
  [
    "4.4.1",
    "the request MUST have Upload-Complete",
    async () => patch(await started("hel"), 3, "lo", {}),
    { status: 400, offset: "3", complete: "?0", limit: LIMIT_WITH_AGE },
  ],
  [
    "4.4.1",
    "the content is application/partial-upload",
    async () => patch(await started("hel"), 3, "lo", { ...COMPLETE, "Content-Type": "text/plain" }),
    {
      status: 415,
      offset: "3",
      complete: "?0",
      limit: LIMIT_WITH_AGE,
      headers: { "Accept-Patch": "application/partial-upload" },
    },
  ],
  [
    "4.4.2",
    "?0 after all content is acknowledged with 2xx and Upload-Complete: ?0",
    async () => patch(await started("hel"), 3, "l", INCOMPLETE),
    { status: 204, offset: "4", complete: "?0", limit: LIMIT_WITH_AGE },
  ],
  [
    "4.4.2",
    "?1 after all content gets the response of the target, which MUST have Upload-Complete: ?1",
    async () => patch(await started("hel"), 3, "lo", COMPLETE),
    { status: 200, offset: "5", complete: "?1", limit: LIMIT_WITH_AGE },
  ],
  [
    "4.4.2",
    "?1 without content completes what has arrived",
    async () => patch(await started("hello"), 5, null, COMPLETE),
    { status: 200, offset: "5", complete: "?1" },
  ],
  [
    "4.4.2",
    "bytes for a complete upload MUST be rejected as an inconsistent length",
    async () => patch(await finished(), 5, "!", { ...COMPLETE, "Content-Length": 1 }),
    {
      status: 400,
      problem: "inconsistent-upload-length",
      offset: "5",
      complete: "?1",
      limit: LIMIT_WITH_AGE,
    },
  ],
  [
    "4.4.2",
    "no bytes for a complete upload MUST be rejected; it can be 410",
    async () => patch(await finished(), 5, null, COMPLETE),
    { status: 410, problem: "completed-upload", offset: "5", complete: "?1", limit: LIMIT_WITH_AGE },
  ],
  [
    "4.4.2",
    "a request that exceeds the length MUST be rejected",
    async () => patch(await started(null, { "Upload-Length": 5 }), 0, withoutLength("hello!"), INCOMPLETE),
    { status: 400, problem: "inconsistent-upload-length", complete: "?0", limit: LIMIT_WITH_AGE },
  ],
  [
    "4.4.2",
    "an upload that was exceeded MUST be invalid from then on",
    async () => {
      const path = await started(null, { "Upload-Length": 5 });
      await patch(path, 0, withoutLength("hello!"), INCOMPLETE);
      return patch(path, 0, "hello", COMPLETE);
    },
    { status: 404, offset: null },
  ],
];

const OTHERS: Row[] = [
  [
    "4.5.2",
    "DELETE SHOULD deactivate the upload",
    async () => {
      const path = await started("hel");
      expect((await send("DELETE", path)).status).toBe(204);
      return head(path);
    },
    { status: 404, offset: null },
  ],
  [
    "8",
    "offset and length count coded bytes; codings that would be lost are rejected",
    async () => post("hello", { ...COMPLETE, "Content-Encoding": "gzip" }),
    { status: 415, complete: "?0", limit: LIMIT, headers: { "Accept-Encoding": "identity" } },
  ],
  [
    "10.1",
    "a Repr-Digest that does not match: the upload SHOULD fail, and the client be told",
    async () =>
      patch(await started("hel", { "Repr-Digest": `sha-256=:${digest("sha256", "x")}:` }), 3, "lo", COMPLETE),
    { status: 400, complete: "?1", limit: LIMIT },
  ],
  [
    "10.1",
    "Want-Repr-Digest: the response SHOULD have a digest once the upload is complete",
    async () => post("hello", { ...COMPLETE, "Want-Repr-Digest": "sha-256=1" }),
    { status: 201, headers: { "Repr-Digest": `sha-256=:${digest("sha256", "hello")}:` } },
  ],
  [
    "10.2",
    "a Content-Digest that does not match: the content SHOULD NOT be appended, and the client be told",
    async () =>
      patch(await started("hel"), 3, "lo", {
        ...COMPLETE,
        "Content-Digest": `sha-256=:${digest("sha256", "x")}:`,
      }),
    { status: 400, offset: "3", complete: "?0", limit: LIMIT_WITH_AGE },
  ],
  [
    "11",
    "what the final response says is in the header of HEAD as well",
    async () => head(await finished()),
    { status: 204, headers: { "Content-Location": /\/files\/.+/ } },
  ],
];

describe.each<[string, Row[]]>([
  ["§4.1 state", STATE],
  ["§4.1.4 limits", LIMITS],
  ["§4.1.4 max-append-size", APPEND_SIZE],
  ["§4.2 creation", CREATION],
  ["§4.3 offset retrieval", RETRIEVAL],
  ["§4.4 append", APPEND],
  ["§4.5 to §11", OTHERS],
])("%s", (_part, rows) => {
  test.each(rows)("§%s: %s", async (_section, _requirement, act, expected) => {
    check(await act(), expected);
  });
});

test("§4.2.2, §4.4.2: what arrived before a break SHOULD be kept, and MUST NOT count as complete", async () => {
  const path = await started();
  const { untilAppended } = countAppended();
  const { body, breakOff } = stalledBody("hel");
  const broken = patch(path, 0, body, COMPLETE);
  await untilAppended(3);
  await breakOff();
  check(await broken, { status: 400, offset: "3", complete: "?0", limit: LIMIT_WITH_AGE });
  check(await head(path), { status: 204, offset: "3", complete: "?0" });
  check(await patch(path, 3, "lo", COMPLETE), { status: 200, offset: "5", complete: "?1" });
  expect((await fileOf(path)).sha256).toBe(sha256("hello"));
});

test("§4.6: a new request SHOULD terminate the one before, and its offset MUST be accepted", async () => {
  const path = await started();
  const { untilAppended } = countAppended();
  const stuck = patch(path, 0, stalledBody("hel").body, COMPLETE);
  await untilAppended(3);
  check(await head(path), { status: 204, offset: "3", complete: "?0" });
  check(await stuck, { status: 409, offset: "3", complete: "?0", limit: LIMIT_WITH_AGE });
  check(await patch(path, 3, "lo", COMPLETE), { status: 200, complete: "?1" });
});

test("§7.1: the problem SHOULD have both offsets", async () => {
  const { body } = await patch(await started("hel"), 1, "x", INCOMPLETE);
  expect([body?.["expected-offset"], body?.["provided-offset"]]).toEqual([3, 1]);
});
