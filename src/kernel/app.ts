/**
 * The application that features are mounted on: request ids, security headers, access and problems are settled
 * here, so that a feature's `routes.ts` holds only its own routes.
 */
import { createRoute, OpenAPIHono, type z } from "@hono/zod-openapi";
import type { MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import { methodNotAllowed } from "hono/method-not-allowed";
import { requestId } from "hono/request-id";
import { secureHeaders } from "hono/secure-headers";
import { authenticate, readAccess, requireScope } from "./access.ts";
import type { AppEnv, Scope } from "./app-env.ts";
import { invalid, Problem, problemSchema, renderProblem } from "./problem.ts";

export type Router = OpenAPIHono<AppEnv>;

/** A router for one feature; what its schemas refuse becomes a 422. */
export function createRouter(): Router {
  return new OpenAPIHono<AppEnv>({
    defaultHook: (result) => {
      if (!result.success) throw invalid(result.target, result.error);
    },
  });
}

/** The whole application: `open` routers answer anybody, `closed` ones only callers that show who they are. */
export function createApp(routers: { open: Router[]; closed: Router[] }): Router {
  const app = createRouter();
  // HSTS is for whoever owns the domain to decide: it would bind all of its subdomains.
  const headers = { strictTransportSecurity: false, crossOriginResourcePolicy: false };
  app.use(requestId(), secureHeaders(headers), async (c, next) => {
    await next();
    // Not by `c.header`, which makes the whole response anew each time.
    const { headers: answered } = c.res;
    answered.set("X-Request-Id", c.get("requestId")); // once more: a bare `Response` does not have it yet
    if (!answered.has(RESOURCE_POLICY)) answered.set(RESOURCE_POLICY, "same-origin");
  });
  app.use(allowOrigins);
  app.onError(renderProblem);
  app.notFound((c) => renderProblem(new Problem("not-found", `There is nothing at ${c.req.path}.`), c));
  app.openAPIRegistry.registerComponent("securitySchemes", "token", {
    type: "http",
    scheme: "bearer",
    description: "A token from the secret SLUICE_TOKENS. Not needed on localhost under `npm run dev`.",
  });

  for (const router of routers.open) app.route("/", router);
  app.use(authenticate);
  app.use(methodNotAllowed({ app, onMethodNotAllowed: refuseMethod }));
  for (const router of routers.closed) app.route("/", router);
  return app;
}

/** A route whose answers are for the pages of every site says so itself (Fetch §3.7). */
export const RESOURCE_POLICY = "Cross-Origin-Resource-Policy";

/**
 * Lets the pages of `CORS_ORIGINS` call, and read every header of the answer (Fetch §3.2). Only a preflight is
 * answered here; any other OPTIONS request goes on to its route.
 */
const allowOrigins: MiddlewareHandler<AppEnv> = async (c, next) => {
  const { corsOrigins } = readAccess(c.env);
  if (corsOrigins.length === 0) return next();
  const origin = c.req.header("Origin");
  const isNamed = origin !== undefined && corsOrigins.includes(origin);
  const isPreflight =
    c.req.method === "OPTIONS" && c.req.header("Access-Control-Request-Method") !== undefined;
  if (isNamed && isPreflight) return preflight(c, next);
  await next();
  c.header("Vary", "Origin", { append: true });
  if (!isNamed) return;
  c.header("Access-Control-Allow-Origin", origin);
  c.header("Access-Control-Expose-Headers", EXPOSED_HEADERS.join(","));
};

/** For an origin that is named. */
const preflight = cors({
  origin: (origin) => origin,
  allowMethods: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
  maxAge: 7200,
});

/** What a page may read beside what it always may. `*` would not do for a request with credentials. */
const EXPOSED_HEADERS = [
  "Accept-Patch",
  "Accept-Post",
  "Allow",
  "Server-Timing",
  "WWW-Authenticate",
  "Location",
  "Preference-Applied",
  "Content-Location",
  "Link",
  "ETag",
  "Accept-Ranges",
  "Content-Range",
  "Content-Disposition",
  "Repr-Digest",
  "Retry-After",
  "X-Request-Id",
  "Upload-Offset",
  "Upload-Length",
  "Upload-Complete",
  "Upload-Incomplete",
  "Upload-Limit",
  "Upload-Draft-Interop-Version",
  "Upload-Metadata",
  "Upload-Expires",
  "Upload-Defer-Length",
  "Upload-Concat",
  "Tus-Resumable",
  "Tus-Version",
  "Tus-Extension",
  "Tus-Max-Size",
  "Tus-Checksum-Algorithm",
];

/** OPTIONS on a route that exists is answered (RFC 9110 §9.3.7); any other method it lacks is a 405. */
function refuseMethod(c: Parameters<typeof renderProblem>[1], methods: string[]): Response {
  const allow = [...methods, "OPTIONS"].join(", ");
  if (c.req.method === "OPTIONS") {
    c.header("Content-Type", undefined);
    return c.body(null, 204, { Allow: allow });
  }
  const detail = `${c.req.method} is not possible here; these are: ${allow}.`;
  return renderProblem(new Problem("method-not-allowed", detail, { headers: { Allow: allow } }), c);
}

/** For `createRoute`: the scope that a route needs, in the document and in force. */
export function needs(scope: Scope) {
  return { security: [{ token: [scope] }], middleware: requireScope(scope) };
}

/** For `createRoute`: the error answers of a route, beside the ones that every route can give. */
export function problems(answers: Record<number, string> = {}) {
  const content = { "application/problem+json": { schema: problemSchema } };
  const everywhere = { 401: "No token, or an unknown one.", 403: "The token lacks the scope." };
  return Object.fromEntries(
    Object.entries({ ...everywhere, ...answers }).map(([status, description]) => [
      status,
      { description, content },
    ]),
  );
}

/** For `createRoute`: a JSON answer. */
export function json<S extends z.ZodType>(description: string, schema: S) {
  return { description, content: { "application/json": { schema } } };
}

/** A route that answers with a page, or another text that is made for reading as it is. */
export function describePage<Path extends string>(path: Path, summary: string, type: string = "text/html") {
  return createRoute({
    method: "get",
    path,
    tags: ["Service"],
    summary,
    ...needs("read"),
    responses: {
      200: { description: summary, content: { [type]: { schema: { type: "string" } } } },
      ...problems(),
    },
  });
}
