/** `GET /audit`: the lines of the audit log, newest first, page by page. */
import { createRoute, z } from "@hono/zod-openapi";
import { createRouter, json, needs, problems } from "../kernel/app.ts";
import { errorFields, log } from "../kernel/log.ts";
import { callObject, objectNamed } from "../kernel/objects.ts";
import { Problem } from "../kernel/problem.ts";
import { cursorParam, emptyIsAbsent, pageSize } from "../kernel/query.ts";
import { type Found, type LineFilter, RETENTION_DAYS } from "./audit-log.ts";
import { lineSchema, toEntry } from "./line.ts";
import { readAuditSettings } from "./record.ts";

const text = (description: string) => emptyIsAbsent(z.string().max(300).meta({ description }));
const moment = (description: string) => emptyIsAbsent(z.iso.datetime({ offset: true }).meta({ description }));
const CURSOR = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;

const listRoute = createRoute({
  operationId: "listAuditLines",
  method: "get",
  path: "/audit",
  tags: ["Service"],
  summary: "Who has changed what",
  description:
    `A line for each request of the last ${RETENTION_DAYS} days that may have changed something, newest first. All filters ` +
    "hold. A page may have fewer lines than `limit`, also none, and not be the last: go on until `next` is null.",
  ...needs("admin"),
  request: {
    query: z.object({
      token: text("The name of the token."),
      method: text("Such as `DELETE`.").transform((method) => method?.toUpperCase()),
      route: text("Such as `/files/{id}`."),
      id: text("What was changed."),
      status: emptyIsAbsent(
        z
          .string()
          .regex(/^[1-5]\d\d$/, "must be a status of HTTP")
          .meta({ description: "Such as 403." }),
      ),
      since: moment("At or after this time."),
      until: moment("Before this time."),
      limit: pageSize(200, 50),
      cursor: cursorParam(),
    }),
  },
  responses: {
    200: json(
      "A page of lines.",
      z.object({ lines: z.array(lineSchema), next: z.string().nullable() }).meta({ id: "AuditPage" }),
    ),
    ...problems({
      409: "The audit log is off: the variable AUDIT.",
      422: "A filter or the cursor is not valid.",
    }),
  },
});

export const auditRoutes = createRouter().openapi(listRoute, async (c) => {
  const { since, until, status, limit, cursor, ...rest } = c.req.valid("query");
  if (!readAuditSettings(c.env).isOn)
    throw new Problem("conflict", 'The audit log is off. Set the variable AUDIT to "on".');
  if (cursor !== undefined && !CURSOR.test(cursor)) {
    const detail = "is not the `next` of a page";
    throw new Problem("invalid", `cursor: ${detail}`, { errors: [{ at: "cursor", detail }] });
  }
  const filter = {
    ...rest,
    ...(status !== undefined && { status: Number(status) }),
    ...(since !== undefined && { sinceMs: Date.parse(since) }),
    ...(until !== undefined && { untilMs: Date.parse(until) }),
  };
  const { lines, next } = await find(c.env, filter, cursor, limit);
  return c.json({ lines: lines.map(toEntry), next }, 200, { "Cache-Control": "no-store" });
});

async function find(env: Env, filter: LineFilter, cursor: string | undefined, limit: number): Promise<Found> {
  try {
    return await callObject(async () => objectNamed(env, "AUDIT_LOG", "audit").find(filter, cursor, limit));
  } catch (error) {
    log("error", "the object that keeps the audit log does not respond", errorFields(error));
    const detail =
      "The object that keeps the audit log does not respond. Try again after the time in Retry-After.";
    throw new Problem("audit-unavailable", detail, { headers: { "Retry-After": "1" } });
  }
}
