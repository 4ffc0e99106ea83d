/**
 * Every error that Sluice responds with, as problem details (RFC 9457).
 *
 *     Problem
 *     ├── 400 malformed            the message itself cannot be read
 *     ├── 400 client-gone          nobody reads it
 *     ├── 400 digest-mismatch      the bytes do not have the digest that was sent
 *     ├── 400 completed-upload, inconsistent-upload-length
 *     ├── 401 unauthorized         no token, or an unknown one
 *     ├── 403 forbidden            the token lacks a scope
 *     ├── 404 not-found            no such route, task or file
 *     ├── 405 method-not-allowed   the route exists, for other methods
 *     ├── 408 request-timeout      the client sends or reads too slowly
 *     ├── 409 conflict             not now: another request or a state stands in the way
 *     ├── 409 mismatching-upload-offset
 *     ├── 409 too-many-signals     a task keeps no more of them
 *     ├── 410 upload-gone
 *     ├── 412 precondition-failed  an If-… header does not hold
 *     ├── 412 unsupported-version  of a protocol
 *     ├── 413 too-large            longer than a limit
 *     ├── 415 unsupported-media    the body has another media type
 *     ├── 416 range-not-satisfiable
 *     ├── 422 invalid              readable, but not what the route takes; `errors` says where
 *     ├── 422 idempotency-key-reused  with another payload
 *     ├── 422 too-heavy            a call that needs more permits than there may be
 *     ├── 426 upgrade-required     this version of a protocol is not spoken here
 *     ├── 429 too-many-requests    one caller holds more than its share
 *     ├── 431 headers-too-large    a header field longer than any route needs
 *     ├── 460 checksum-mismatch    of a chunk (tus)
 *     ├── 500 internal             a bug: the log has the details, under the request id
 *     ├── 501 not-implemented      the upstream may not be called in this way
 *     ├── 502 upstream-unreachable, redirect-refused, response-too-large
 *     ├── 503 upstream-failed, queue-full, wait-limit, paused, breaker-open, semaphore-unavailable
 *     ├── 503 no-link-key          no key to sign a link with
 *     ├── 503 bad-secret           a secret that this needs is missing or wrong
 *     ├── 503 task-type-unavailable  this deployment lacks what the type needs
 *     ├── 503 task-not-started     the file is stored, but its task could not be started
 *     ├── 503 ledger-unavailable   the tasks cannot be written, so they are not accepted
 *     ├── 503 uploads-busy         no memory for another upload now
 *     ├── 503 catalogue-unavailable  the files cannot be looked up or recorded
 *     ├── 503 audit-unavailable    the audit log cannot be read
 *     ├── 504 upstream-timeout
 *     ├── 504 not-stored           and the request takes only what is stored
 *     ├── 507 insufficient-storage  a quota of stored bytes is used up
 *     └── 508 loop-detected        the call would come back here
 *
 * Whatever is thrown, `renderProblem` is the one place that turns it into a response. README.md describes each type.
 */
import type { Context } from "hono";
import { HTTPException } from "hono/http-exception";
import { z } from "zod";
import { errorFields, log } from "./log.ts";
import { currentTraceId } from "./trace.ts";

const TITLES = {
  malformed: [400, "Malformed request"],
  "client-gone": [400, "Client gone"],
  "digest-mismatch": [400, "Digest mismatch"],
  "completed-upload": [400, "upload is already completed"],
  "inconsistent-upload-length": [400, "inconsistent length values for upload"],
  unauthorized: [401, "Unauthorized"],
  forbidden: [403, "Forbidden"],
  "not-found": [404, "Not found"],
  "method-not-allowed": [405, "Method not allowed"],
  "request-timeout": [408, "Request timeout"],
  conflict: [409, "Conflict"],
  "mismatching-upload-offset": [409, "offset from request does not match offset of resource"],
  "too-many-signals": [409, "Too many signals"],
  "upload-gone": [410, "upload is already completed"],
  "precondition-failed": [412, "Precondition failed"],
  "unsupported-version": [412, "Unsupported protocol version"],
  "too-large": [413, "Too large"],
  "unsupported-media": [415, "Unsupported media type"],
  "range-not-satisfiable": [416, "Range not satisfiable"],
  invalid: [422, "Invalid request"],
  "idempotency-key-reused": [422, "Idempotency-Key is already used"],
  "too-heavy": [422, "Too heavy"],
  "upgrade-required": [426, "Upgrade required"],
  "too-many-requests": [429, "Too many requests"],
  "headers-too-large": [431, "Header fields too large"],
  "checksum-mismatch": [460, "Checksum mismatch"],
  internal: [500, "Internal server error"],
  "not-implemented": [501, "Not implemented"],
  "upstream-unreachable": [502, "Upstream unreachable"],
  "redirect-refused": [502, "Redirect refused"],
  "response-too-large": [502, "Response too large"],
  "upstream-failed": [503, "Upstream failed"],
  "queue-full": [503, "Queue full"],
  "wait-limit": [503, "Wait limit reached"],
  paused: [503, "Paused"],
  "breaker-open": [503, "Circuit breaker open"],
  "semaphore-unavailable": [503, "Semaphore unavailable"],
  "no-link-key": [503, "No link key"],
  "bad-secret": [503, "Secret missing or wrong"],
  "task-type-unavailable": [503, "Task type unavailable"],
  "task-not-started": [503, "Task not started"],
  "ledger-unavailable": [503, "Ledger unavailable"],
  "uploads-busy": [503, "Uploads busy"],
  "catalogue-unavailable": [503, "Catalogue unavailable"],
  "audit-unavailable": [503, "Audit log unavailable"],
  "upstream-timeout": [504, "Upstream timeout"],
  "not-stored": [504, "Not stored"],
  "insufficient-storage": [507, "Insufficient storage"],
  "loop-detected": [508, "Loop detected"],
} as const satisfies Record<string, [number, string]>;

export type ProblemKind = keyof typeof TITLES;

export const isProblemKind = (kind: string): kind is ProblemKind => Object.hasOwn(TITLES, kind);

/** The kinds whose type is in the IANA registry; every other type is `urn:sluice:problem:{kind}`. */
const REGISTERED = new Map<ProblemKind, string>([
  ["mismatching-upload-offset", "mismatching-upload-offset"],
  ["completed-upload", "completed-upload"],
  ["upload-gone", "completed-upload"],
  ["inconsistent-upload-length", "inconsistent-upload-length"],
]);

function typeOf(kind: ProblemKind): string {
  const registered = REGISTERED.get(kind);
  return registered === undefined
    ? `urn:sluice:problem:${kind}`
    : `https://iana.org/assignments/http-problem-types#${registered}`;
}

interface ProblemOptions extends ErrorOptions {
  /** Headers of the response, e.g. `WWW-Authenticate` or `Retry-After`. */
  headers?: Record<string, string>;
  /** Where the request is wrong (a JSON pointer or a parameter's name), and what is expected there. */
  errors?: { at: string; detail: string }[];
  /** Further members of the problem, as its registered type requires (RFC 9457 §3.2). */
  members?: Record<string, number>;
}

/** An error response. The caller reads `detail`: it must contain no internals, and nothing about another caller. */
export class Problem extends Error {
  override readonly name = "Problem";

  readonly kind: ProblemKind;
  readonly detail: string;
  readonly options: ProblemOptions;

  constructor(kind: ProblemKind, detail: string, options: ProblemOptions = {}) {
    super(detail, options);
    this.kind = kind;
    this.detail = detail;
    this.options = options;
  }

  get status() {
    return TITLES[this.kind][0];
  }
}

/** The body of every error response, for the OpenAPI document. */
export const problemSchema = z
  .object({
    type: z.string().meta({ example: "urn:sluice:problem:not-found" }),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    requestId: z.string().meta({ description: "Also in the header X-Request-Id, and in the log." }),
    traceId: z.string().optional().meta({ description: "Of the W3C trace that the request is part of." }),
    errors: z.array(z.object({ at: z.string(), detail: z.string() })).optional(),
    "expected-offset": z.int().optional().meta({ description: "For `mismatching-upload-offset`." }),
    "provided-offset": z.int().optional(),
  })
  .meta({ id: "Problem", description: "RFC 9457 problem details." });

/** The response to whatever was thrown. An error that is not a `Problem` is a bug: it is logged whole, and sent as a bare 500. */
export function renderProblem(error: unknown, c: Context): Response {
  const problem = toProblem(error);
  const requestId: string = c.get("requestId");
  if (problem.kind === "internal") {
    log("error", "unhandled error", {
      requestId,
      method: c.req.method,
      path: c.req.path,
      ...errorFields(error),
    });
  }
  const body: z.output<typeof problemSchema> = {
    ...problem.options.members,
    type: typeOf(problem.kind),
    title: TITLES[problem.kind][1],
    status: problem.status,
    detail: problem.detail,
    requestId,
  };
  const traceId = currentTraceId();
  if (traceId !== undefined) body.traceId = traceId;
  if (problem.options.errors) body.errors = problem.options.errors;
  const headers = {
    "Content-Type": "application/problem+json",
    "Cache-Control": "no-store",
    ...problem.options.headers,
  };
  // Not `c.body`: Hono does not know the status 460, which only tus has.
  return new Response(JSON.stringify(body), { status: problem.status, headers });
}

function toProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  // The router throws this for a body that its Content-Type calls JSON, and that is not.
  if (error instanceof HTTPException && error.status === 400) return new Problem("malformed", error.message);
  return new Problem("internal", "Something went wrong here. The log has the details under this request id.");
}

/** What zod found wrong with a request, as a 422 that names each place. `target` is json, query, param, … */
export function invalid(target: string, error: z.core.$ZodError): Problem {
  const errors = error.issues.flatMap(expandUnion).map((issue) => ({
    at: `${target}/${issue.path.map(String).join("/")}`,
    detail: issue.message,
  }));
  return new Problem("invalid", `The request's ${target} is not what this route takes.`, { errors });
}

/** When no alternative of a union matches: what is wrong according to the closest one. */
function expandUnion(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code !== "invalid_union") return [issue];
  const nearest = issue.errors.find(isOfSameKind);
  if (!nearest) return [issue];
  return nearest.flatMap(expandUnion).map((inner) => ({ ...inner, path: [...issue.path, ...inner.path] }));
}

/** Whether the value has the kind that the alternative takes, and is wrong only inside. */
const isOfSameKind = (issues: z.core.$ZodIssue[]) =>
  !issues.some(({ code, path }) => code === "invalid_type" && path.length === 0);
