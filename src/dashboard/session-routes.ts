/**
 * Signing in to the dashboard: `POST /session` trades a token for a cookie that no script can read, `GET /session` says
 * who is signed in, and `DELETE` ends this session, or all of its token's.
 */
import { createRoute, z } from "@hono/zod-openapi";
import { identifyToken, readAccess } from "../kernel/access.ts";
import { createRouter, json, openProblems, problems } from "../kernel/app.ts";
import { SCOPES } from "../kernel/app-env.ts";
import { requireOwnPage } from "../kernel/other-sites.ts";
import { beginSession, endSessions, findSession, SESSION_SECONDS, setCookie } from "../kernel/sessions.ts";
import { sha256OfToken } from "../kernel/tokens.ts";

const tags = ["Service"];
/** Any token will do. */
const signedIn = { security: [{ token: [] }] };
const NO_STORE = { "Cache-Control": "no-store" };

const sessionSchema = z
  .object({
    name: z.string().openapi({ description: "The token's name; `local` for a caller that needs none." }),
    scopes: z.array(z.enum(SCOPES)),
    filePrefix: z.string().nullable().openapi({
      description: "What the ids of its files begin with; null if the token is not bound to a prefix.",
    }),
    taskTypes: z
      .array(z.string())
      .nullable()
      .openapi({ description: "The types of its tasks; null if the token is not bound to types." }),
    expiresAt: z.iso
      .datetime()
      .nullable()
      .openapi({ description: "When the session ends; null without one." }),
  })
  .openapi("Session");

/** Open: who signs in has no session yet. */
export const signIn = createRouter().openapi(
  createRoute({
    method: "post",
    path: "/session",
    operationId: "signIn",
    tags,
    summary: "Sign in to the dashboard",
    description: `For pages of this Worker alone. The cookie lasts ${SESSION_SECONDS / 3600} hours.`,
    security: [],
    request: {
      body: {
        required: true,
        content: { "application/json": { schema: z.object({ token: z.string() }), example: { token: "…" } } },
      },
    },
    responses: {
      204: { description: "Signed in: the response sets the cookie." },
      ...openProblems({
        400: "The body is not JSON.",
        401: "The token is unknown, or has expired.",
        403: "The request is not from a page of this Worker.",
        413: "The body is too long.",
        415: "The body is not JSON.",
        422: "There is no `token`.",
        503: "What keeps sessions does not respond.",
      }),
    },
  }),
  async (c) => {
    requireOwnPage(c.req.raw);
    const { token } = c.req.valid("json");
    c.set("principal", identifyToken(c.env, token));
    const { id } = await beginSession(c.env, sha256OfToken(token));
    return c.body(null, 204, { "Set-Cookie": setCookie(id, SESSION_SECONDS), ...NO_STORE });
  },
);

export const sessionRoutes = createRouter()
  .openapi(
    createRoute({
      method: "get",
      path: "/session",
      operationId: "getSession",
      tags,
      summary: "Who is calling, and what they may do",
      ...signedIn,
      responses: { 200: json("The caller.", sessionSchema), ...problems() },
    }),
    async (c) => {
      const { name, scopes, bounds } = c.get("principal");
      const session = readAccess(c.env).localIsOpen ? undefined : await findSession(c.env, c.req.raw);
      const expiresAt = session ? new Date(session.expiresAtMs).toISOString() : null;
      const filePrefix = bounds?.filePrefix || null;
      const taskTypes = bounds && bounds.taskTypes.length > 0 ? [...bounds.taskTypes] : null;
      return c.json({ name, scopes: [...scopes], filePrefix, taskTypes, expiresAt }, 200, NO_STORE);
    },
  )
  .openapi(endRoute("/session", "signOut", "Sign out"), async (c) => {
    await endSessions(c.env, c.req.raw, "this");
    return c.body(null, 204, { "Set-Cookie": setCookie() });
  })
  .openapi(
    endRoute("/sessions", "signOutEverywhere", "End all sessions of this session's token"),
    async (c) => {
      await endSessions(c.env, c.req.raw, "all");
      return c.body(null, 204, { "Set-Cookie": setCookie() });
    },
  );

function endRoute<Path extends string>(path: Path, operationId: string, summary: string) {
  return createRoute({
    method: "delete",
    path,
    operationId,
    tags,
    summary,
    ...signedIn,
    responses: { 204: { description: "Ended. Elsewhere within half a minute." }, ...problems() },
  });
}
