/**
 * Sends form data, right and wrong, many at a time, and holds each answer to what is promised:
 *
 *     answered   within ten seconds, with 201, 400, 413, 415 or 422; only whoever breaks the framing of HTTP itself may
 *                be cut off, or be answered by the server in front of the Worker
 *     whole      a valid form is stored, with the names, sizes and digests of what was sent
 *     readable   each file in an answer is there, with the bytes of the digest that the answer told (a sample)
 *
 * What must be true once all is over is for whoever started it to look at: `kept` are the files that were acknowledged.
 */
import { createHash } from "node:crypto";
import { Random } from "../random.ts";
import { Connection, type Outcome } from "./connection.ts";
import type { Content } from "./form.ts";
import { type FormRequest, makeRequest } from "./request.ts";

const ANSWER_MS = 10_000;
const ANSWERS = [201, 400, 413, 415, 422];
/** From workerd, for what is no HTTP. */
const ANSWERS_TO_BROKEN_HTTP = [...ANSWERS, 411, 431, 501];
const IN_FLIGHT = 32;
/** The share of what was stored that is read again. */
const READ_SHARE = 0.1;
/** How much of a body that broke a promise is told. */
const TOLD_BYTES = 3000;

export interface AttackOptions {
  url: string;
  seed: number;
  /** The numbers of the requests: from `first`, `count` of them. */
  first?: number;
  count: number;
  /** At a time. */
  inFlight?: number;
  /** False where a proxy stands in front, as that of `wrangler dev`, which answers such requests in its own ways. */
  breaksHttp?: boolean;
}

interface Broken {
  number: number;
  what: string;
  mutations: string[];
  /** The request, in base64, cut. */
  sent: string;
}

export interface Findings {
  /** How many ended in which way: by status, or how else. */
  outcomes: Map<string, number>;
  broken: Broken[];
  /** The ids of all files that were acknowledged. */
  kept: string[];
  /** Requests whose end is not known to the client. */
  unanswered: number;
  filesRead: number;
  slowest: { number: number; ms: number };
  tookMs: number;
}

export async function attack(options: AttackOptions): Promise<Findings> {
  const { url, seed, first = 0, count, inFlight = IN_FLIGHT, breaksHttp = true } = options;
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
  await inLanes(url, inFlight, async (ask) => {
    if (next >= first + count) return false;
    const request = makeRequest(seed, next++, { host, breaksHttp });
    const atMs = performance.now();
    const outcome = await ask(request, request.isBrokenHttp);
    const ms = performance.now() - atMs;
    if (ms > findings.slowest.ms) findings.slowest = { number: request.number, ms };
    const read = async (id: string) => {
      const found = await ask({ pieces: [head("GET", id, host)] });
      findings.filesRead++;
      return found;
    };
    const isRead = new Random(seed, `read${request.number}`).chance(READ_SHARE);
    const what = await judge(request, outcome, findings, isRead ? read : undefined);
    if (what !== undefined) findings.broken.push(tell(request, what));
    return true;
  });
  findings.tookMs = performance.now() - startMs;
  return findings;
}

/** Removes files; gives how many could not be. */
export async function removeFiles(url: string, ids: string[]): Promise<number> {
  const { host } = new URL(url);
  const left = [...ids];
  let failed = 0;
  await inLanes(url, IN_FLIGHT, async (ask) => {
    const id = left.pop();
    if (id === undefined) return false;
    const outcome = await ask({ pieces: [head("DELETE", id, host)] });
    if (outcome.is !== "answered" || outcome.status !== 204) failed++;
    return true;
  });
  return failed;
}

const head = (method: string, id: string, host: string) =>
  Buffer.from(`${method} /files/${id} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);

type Ask = (sending: { pieces: Buffer[]; endsEarly?: boolean }, isLast?: boolean) => Promise<Outcome>;

/** Calls `step` again and again, in many lanes at once, each with a connection of its own, until it gives false. */
async function inLanes(url: string, count: number, step: (ask: Ask) => Promise<boolean>): Promise<void> {
  const lane = async () => {
    let connection = new Connection(url);
    const ask: Ask = async (sending, isLast = false) => {
      if (!connection.isReusable) {
        connection.close();
        connection = new Connection(url);
      }
      const wasUsed = connection.isUsed;
      let outcome = await connection.ask({ ...sending, timeoutMs: ANSWER_MS });
      if (outcome.is === "closed" && wasUsed) {
        // It may have been closed just when it was used again, as any may be (RFC 9112 §9.3.1).
        connection = new Connection(url);
        outcome = await connection.ask({ ...sending, timeoutMs: ANSWER_MS });
      }
      // The next one finds it closed, and opens another.
      if (isLast || outcome.is !== "answered") connection.close();
      return outcome;
    };
    while (await step(ask));
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

/** Which promise is broken, if any. */
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
  const allowed = request.isBrokenHttp ? ANSWERS_TO_BROKEN_HTTP : ANSWERS;
  if (!allowed.includes(status)) return `answered ${status}: ${body.toString().slice(0, 500)}`;
  const isValid = request.mutations.length === 0;
  if (status !== 201) return isValid ? `a valid form was answered ${status}: ${body.toString()}` : undefined;
  const { files, fields } = readAnswer(request, body);
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
      return `the file ${id} has other bytes than the answer says`;
  }
  return undefined;
}

function readAnswer(
  { route }: FormRequest,
  body: Buffer,
): { files: Stored[]; fields: Content["fields"] | undefined } {
  const answer = JSON.parse(body.toString());
  return route === "/files" ? answer : { files: [{ ...answer, field: "file" }], fields: undefined };
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
  if (stored !== sent) return `the answer has the files ${stored}; sent were ${sent}`;
  if (!fields || JSON.stringify(fields) === JSON.stringify(content.fields)) return undefined;
  return `the answer has the fields ${JSON.stringify(fields)}; sent were ${JSON.stringify(content.fields)}`;
}

function tell({ number, mutations, pieces }: FormRequest, what: string): Broken {
  return { number, what, mutations, sent: Buffer.concat(pieces).subarray(0, TOLD_BYTES).toString("base64") };
}
