/**
 * Sends valid and invalid form data, many requests at a time, and checks each response against the promises:
 *
 *     answered   within ten seconds, with 201, 400, 413, 415 or 422. Only a request with broken HTTP framing may be
 *                cut off, or get a response from the server in front of the Worker
 *     whole      a valid form is stored, with the names, sizes and digests of what was sent, however that is encoded
 *     heeded     a form is not stored if a digest of it is wrong or cannot be checked, or if it says that it is a piece
 *     readable   each file in a response exists and has the bytes of the digest in the response (a sample is read)
 *
 * The caller checks what must be true in the end; `kept` are the files that were acknowledged.
 */
import { createHash } from "node:crypto";
import { Random } from "../random.ts";
import { Connection, type Outcome } from "./connection.ts";
import type { Content } from "./form.ts";
import { MUST_BE_REJECTED } from "./mutate.ts";
import { type FormRequest, makeRequest } from "./request.ts";

const RESPONSE_MS = 10_000;
const STATUSES = [201, 400, 413, 415, 422];
/** workerd sends the others for what is not HTTP. */
const STATUSES_FOR_BROKEN_HTTP = [...STATUSES, 411, 431, 501];
const IN_FLIGHT = 32;
const READ_SHARE = 0.1;
/** How much of a request that broke a promise is printed. */
const PRINTED_BYTES = 3000;

export interface AttackOptions {
  url: string;
  seed: number;
  /** The number of the first request. */
  first?: number;
  count: number;
  /** Concurrent requests. */
  inFlight?: number;
  /** The share of the stored forms whose files are read again. */
  readShare?: number;
  /** False behind a proxy such as that of `wrangler dev`, which has its own responses to broken HTTP. */
  breaksHttp?: boolean;
}

interface Broken {
  number: number;
  what: string;
  mutations: string[];
  /** The beginning of the request, in base64. */
  sent: string;
}

export interface Findings {
  /** How many requests ended how: with which status, or without one. */
  outcomes: Map<string, number>;
  broken: Broken[];
  /** The ids of all files that were acknowledged. */
  kept: string[];
  /** Requests without a response. */
  unanswered: number;
  filesRead: number;
  slowest: { number: number; ms: number };
  tookMs: number;
}

export async function attack(options: AttackOptions): Promise<Findings> {
  const { url, seed, first = 0, count, inFlight = IN_FLIGHT, breaksHttp = true } = options;
  const { readShare = READ_SHARE } = options;
  const findings: Findings = {
    outcomes: new Map(),
    broken: [],
    kept: [],
    unanswered: 0,
    filesRead: 0,
    slowest: { number: -1, ms: 0 },
    tookMs: 0,
  };
  const { host } = new URL(url);
  const startMs = performance.now();
  let next = first;
  await inLanes(url, inFlight, async (send) => {
    if (next >= first + count) return false;
    const request = makeRequest(seed, next++, { host, breaksHttp });
    const atMs = performance.now();
    const outcome = await send(request, request.isBrokenHttp);
    const ms = performance.now() - atMs;
    if (ms > findings.slowest.ms) findings.slowest = { number: request.number, ms };
    const read = async (id: string) => {
      const found = await send({ pieces: [head("GET", id, host)] });
      findings.filesRead++;
      return found;
    };
    const isRead = new Random(seed, `read${request.number}`).chance(readShare);
    const what = await judge(request, outcome, findings, isRead ? read : undefined);
    if (what !== undefined) findings.broken.push(toBroken(request, what));
    return true;
  });
  findings.tookMs = performance.now() - startMs;
  return findings;
}

/** Removes files; returns how many could not be removed. */
export async function removeFiles(url: string, ids: string[]): Promise<number> {
  const { host } = new URL(url);
  const left = [...ids];
  let failed = 0;
  await inLanes(url, IN_FLIGHT, async (send) => {
    const id = left.pop();
    if (id === undefined) return false;
    const outcome = await send({ pieces: [head("DELETE", id, host)] });
    if (outcome.is !== "answered" || outcome.status !== 204) failed++;
    return true;
  });
  return failed;
}

const head = (method: string, id: string, host: string) =>
  Buffer.from(`${method} /files/${id} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);

type Send = (sending: { pieces: Buffer[]; endsEarly?: boolean }, isLast?: boolean) => Promise<Outcome>;

/** Calls `step` repeatedly in concurrent lanes, each with its own connection, until it returns false. */
async function inLanes(url: string, count: number, step: (send: Send) => Promise<boolean>): Promise<void> {
  const lane = async () => {
    let connection = new Connection(url);
    const send: Send = async (sending, isLast = false) => {
      if (!connection.isReusable) {
        connection.close();
        connection = new Connection(url);
      }
      const wasUsed = connection.isUsed;
      let outcome = await connection.send({ ...sending, timeoutMs: RESPONSE_MS });
      if (outcome.is === "closed" && wasUsed) {
        // The server may close a connection just when it is reused (RFC 9112 §9.3.1).
        connection = new Connection(url);
        outcome = await connection.send({ ...sending, timeoutMs: RESPONSE_MS });
      }
      // The next request finds it closed and opens another.
      if (isLast || outcome.is !== "answered") connection.close();
      return outcome;
    };
    while (await step(send));
    connection.close();
  };
  await Promise.all(Array.from({ length: count }, lane));
}

interface Stored {
  id: string;
  field?: string;
  filename: string;
  size: number;
  sha256: string;
}

type Read = (id: string) => Promise<Outcome>;

/** The promise that is broken, if any. */
async function judge(
  request: FormRequest,
  outcome: Outcome,
  findings: Findings,
  read?: Read,
): Promise<string | undefined> {
  const { outcomes, kept } = findings;
  const end = outcome.is === "answered" ? String(outcome.status) : outcome.is;
  outcomes.set(end, (outcomes.get(end) ?? 0) + 1);
  if (outcome.is !== "answered") {
    findings.unanswered++;
    return outcome.is === "closed" && request.isBrokenHttp ? undefined : `the connection ${outcome.is}`;
  }
  const { status, body } = outcome;
  const allowed = request.isBrokenHttp ? STATUSES_FOR_BROKEN_HTTP : STATUSES;
  if (!allowed.includes(status)) return `responded ${status}: ${body.toString().slice(0, 500)}`;
  const isValid = request.mutations.length === 0;
  if (status !== 201) return isValid ? `a valid form got a ${status}: ${body.toString()}` : undefined;
  const { files, fields } = readResponse(request, body);
  const [only = "", ...others] = request.mutations;
  if (MUST_BE_REJECTED.includes(only) && others.length === 0) return `a form was stored in spite of ${only}`;
  kept.push(...files.map(({ id }) => id));
  if (isValid) {
    const difference = compare(request, files, fields);
    if (difference !== undefined) return difference;
  }
  for (const { id, size, sha256 } of read ? files.slice(0, 3) : []) {
    const found = await read?.(id);
    const isThere = found?.is === "answered" && found.status === 200;
    if (!isThere)
      return `the file ${id} cannot be read: ${found?.is === "answered" ? found.status : found?.is}`;
    const digest = createHash("sha256").update(found.body).digest("hex");
    if (digest !== sha256 || found.body.length !== size)
      return `the file ${id} has other bytes than the response says`;
  }
  return undefined;
}

function readResponse(
  { route }: FormRequest,
  body: Buffer,
): { files: Stored[]; fields: Content["fields"] | undefined } {
  const response = JSON.parse(body.toString());
  return route === "/files" ? response : { files: [{ ...response, field: "file" }], fields: undefined };
}

function compare(
  { content }: FormRequest,
  files: Stored[],
  fields: Content["fields"] | undefined,
): string | undefined {
  const stored = JSON.stringify(
    files.map(({ field, filename, size, sha256 }) => ({ field, filename, size, sha256 })),
  );
  const sent = JSON.stringify(content.files);
  if (stored !== sent) return `the response has the files ${stored}; sent were ${sent}`;
  if (!fields || JSON.stringify(fields) === JSON.stringify(content.fields)) return undefined;
  return `the response has the fields ${JSON.stringify(fields)}; sent were ${JSON.stringify(content.fields)}`;
}

function toBroken({ number, mutations, pieces }: FormRequest, what: string): Broken {
  return {
    number,
    what,
    mutations,
    sent: Buffer.concat(pieces).subarray(0, PRINTED_BYTES).toString("base64"),
  };
}
