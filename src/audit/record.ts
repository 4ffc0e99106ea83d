/**
 * Records who has changed what. Each request that may change something, and whose caller is known, leaves a line, whatever
 * came of it. The line is sent to the audit log after the response, together with those of other requests (group commit).
 *
 * What is not recorded: a caller without a valid token, and requests that are too many, either of which could fill the log;
 * and each piece of a resumable upload, which has a line for its beginning and, if it is removed, for its end.
 */
import type { Context, MiddlewareHandler } from "hono";
import { z } from "zod";
import { routeOf } from "../kernel/app.ts";
import type { AppEnv, Principal } from "../kernel/app-env.ts";
import { GroupedCalls } from "../kernel/grouped-calls.ts";
import { errorFields, log } from "../kernel/log.ts";
import { callObject, objectNamed } from "../kernel/objects.ts";
import { Problem } from "../kernel/problem.ts";
import { perEnv, readVariable } from "../kernel/variables.ts";
import { type Line, newKey } from "./line.ts";

export const readAuditSettings = perEnv((env) => ({
  isOn: readVariable(env, "AUDIT", z.enum(["on", "off"]).default("off")) === "on",
}));

const CHANGES = new Set(["POST", "PUT", "PATCH", "DELETE"]);
const PIECES = /^PATCH \/uploads\/(\{id\}|grants\/\{id\}\/\{upload\})$/;
/** What a line takes of a call (kernel/grouped-calls.ts). */
const WEIGHT = 1_000;

export const auditChanges: MiddlewareHandler<AppEnv> = async (c, next) => {
  await next();
  if (!readAuditSettings(c.env).isOn) return;
  const line = lineOf(c);
  if (line) c.executionCtx.waitUntil(send(c.env, line));
};

/** Of a request that has its response; undefined if it is none that is recorded. */
function lineOf(c: Context<AppEnv>): Line | undefined {
  const principal: Principal | undefined = c.get("principal");
  const { method } = c.req;
  const pattern = routeOf(c) ?? c.req.path;
  const route = pattern.replaceAll(/:(\w+)(?:\{[^}]*\})?/g, "{$1}");
  const mayChange = CHANGES.has(method) || (method === "GET" && c.get("isChange") === true);
  if (!principal || !mayChange || PIECES.test(`${method} ${route}`)) return undefined;
  const { status, headers } = c.res;
  const problem = c.error instanceof Problem ? c.error.kind : null;
  if (problem === "too-many-requests") return undefined;
  return {
    key: newKey(),
    token: principal.name,
    method,
    route,
    id: idOf(pattern, c.req.path) ?? createdBy(headers),
    status,
    problem,
    requestId: c.get("requestId"),
  };
}

/** What the first parameter of a pattern is in a path. That of a grant is as good as a token: then it is the second. */
function idOf(pattern: string, path: string): string | null {
  const ids = pattern
    .split("/")
    .flatMap((segment, i) => (segment.startsWith(":") ? [path.split("/")[i]] : []));
  return ids[pattern.startsWith("/uploads/grants/") ? 1 : 0] ?? null;
}

/** What the response says was created (RFC 9110 §15.3.2). Links are no ids. */
const createdBy = (headers: Headers): string | null =>
  /^(?:https?:\/\/[^/]+)?\/(?:tasks|files|uploads|schedules)\/([^/?#]+)$/.exec(
    headers.get("Location") ?? "",
  )?.[1] ?? null;

async function send(env: Env, line: Line): Promise<void> {
  try {
    await callObject(async (untilMs) => groupOf(env).send(line, WEIGHT, untilMs), { keepsDeadline: true });
  } catch (error) {
    log("error", "a line of the audit log could not be written", { line, ...errorFields(error) });
  }
}

const groupOf = perEnv(
  (env) =>
    new GroupedCalls<Line, null>(async (lines) => {
      await objectNamed(env, "AUDIT_LOG", "audit").append(lines);
      return lines.map(() => null);
    }),
);
