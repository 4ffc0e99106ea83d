/**
 * The application that features are mounted on. Request ids, security headers, CORS, access and problems are handled
 * here, so that a feature's `routes.ts` holds only its own routes.
 *
 * A request passes, in this order: its id, the security headers, CORS, the open routes, the token, the closed routes.
 */
import { createRoute, OpenAPIHono, type RouteConfig, type z } from "@hono/zod-openapi";
import type { Context, MiddlewareHandler, Schema } from "hono";
import { HTTPException } from "hono/http-exception";
import { methodNotAllowed } from "hono/method-not-allowed";
import { requestId } from "hono/request-id";
import { matchedRoutes, routePath } from "hono/route";
import { secureHeaders } from "hono/secure-headers";
import { authenticate, requireScope, requireScopeWithin } from "./access.ts";
import type { AppEnv, Scope } from "./app-env.ts";
import { allowOrigins } from "./cors.ts";
import { limitHeaders } from "./headers.ts";
import { asInvocation } from "./invocation.ts";
import { isJsonType, readJsonBody } from "./json-body.ts";
import { invalid, Problem, problemSchema, renderProblem } from "./problem.ts";
import { limitRequests } from "./request-rates.ts";
import { inRootSpan } from "./spans.ts";

export type Router = OpenAPIHono<AppEnv>;
export type ApiDocument = ReturnType<Router["getOpenAPI31Document"]>;

/**
 * A router for one feature. A request that its schemas reject becomes a 422.
 *
 * Chain the routes, `createRouter().openapi(…).openapi(…)`: the type of each call carries the routes so far, and
 * Hono's client (`hc`) reads them from it.
 */
export function createRouter(): Router {
  const router = new OpenAPIHono<AppEnv>({
    // A slash at the end of a path is as good as none.
    strict: false,
    defaultHook: (result) => {
      if (!result.success) throw invalid(result.target, result.error);
    },
  });
  const { openapi } = router;
  router.openapi = (route, handler, hook) => openapi(withJsonBody(route), handler, hook);
  return router;
}

/** The route, which reads its JSON by `readJsonBody` after all other middleware, above all the check of the scope. */
function withJsonBody<R extends RouteConfig>(route: R): R {
  const types = Object.keys(route.request?.body?.content ?? {});
  if (!types.some(isJsonType)) return route;
  return Object.assign({}, route, { middleware: [route.middleware ?? [], readJsonBody].flat() });
}

/**
 * The whole application: `open` routes serve anybody, `closed` ones only callers that have identified themselves. `around`:
 * what goes around all of them.
 */
export function createApp<Open extends Schema, Closed extends Schema>(routers: {
  around?: MiddlewareHandler<AppEnv>[];
  open: OpenAPIHono<AppEnv, Open>[];
  closed: OpenAPIHono<AppEnv, Closed>[];
}): Router {
  const app = createRouter();
  // The owner of the domain decides about HSTS, which would bind all of its subdomains.
  const headers = { strictTransportSecurity: false, crossOriginResourcePolicy: false };
  app.use(async (_c, next) => asInvocation(next));
  app.use(trace);
  app.use(requestId(), secureHeaders(headers), async (c, next) => {
    await next();
    // Not `c.header`, which copies the whole response each time.
    const { headers: sent } = c.res;
    sent.set("X-Request-Id", c.get("requestId")); // again: a bare `Response` does not have it yet
    if (!sent.has(RESOURCE_POLICY)) sent.set(RESOURCE_POLICY, "same-origin");
  });
  app.use(limitHeaders, allowOrigins);
  app.onError((error, c) => renderProblem(isUnsupportedMedia(error) ? unsupportedMedia(app, c) : error, c));
  app.notFound((c) => renderProblem(new Problem("not-found", `There is nothing at ${c.req.path}.`), c));
  app.openAPIRegistry.registerComponent("securitySchemes", "token", {
    type: "http",
    scheme: "bearer",
    description: "A token from the secret SLUICE_TOKENS. Not needed on localhost under `npm run dev`.",
  });

  for (const middleware of routers.around ?? []) app.use(middleware);
  for (const router of routers.open) app.route("/", router);
  app.use(authenticate, limitRequests);
  app.use(methodNotAllowed({ app, onMethodNotAllowed: refuseMethod }));
  for (const router of routers.closed) app.route("/", router);
  return app;
}

/**
 * The pattern of the route that was called last, not that of middleware: of a request that was rejected before, that of the
 * route which would have been called. Undefined if there is none.
 */
export function routeOf(c: Context): string | undefined {
  const called = routePath(c);
  return called === "/*" ? matchedRoutes(c).find(({ path }) => path !== "/*")?.path : called;
}

/** A request continues the trace that its caller names. */
const trace: MiddlewareHandler<AppEnv> = async (c, next) =>
  inRootSpan(
    { env: c.env, ctx: c.executionCtx, traceparent: c.req.header("traceparent") },
    c.req.method,
    {
      kind: "server",
      attributes: { "http.request.method": c.req.method },
      atEnd: () => ({
        name: [c.req.method, routeOf(c)].filter(Boolean).join(" "),
        "http.route": routeOf(c),
        "http.response.status_code": c.res.status,
      }),
    },
    next,
  );

/** `same-origin`, unless a route sets it, because the pages of every site may use its response (Fetch §3.7). */
export const RESOURCE_POLICY = "Cross-Origin-Resource-Policy";

/** OPTIONS on an existing route lists its methods (RFC 9110 §9.3.7); any other method that it lacks is a 405. */
function refuseMethod(c: Context, methods: string[]): Response {
  const allow = [...methods.filter((method) => method !== "OPTIONS"), "OPTIONS"].join(", ");
  if (c.req.method === "OPTIONS") {
    c.header("Content-Type", undefined);
    return c.body(null, 204, { Allow: allow });
  }
  const detail = `${c.req.method} is not allowed here. Allowed: ${allow}.`;
  return renderProblem(new Problem("method-not-allowed", detail, { headers: { Allow: allow } }), c);
}

/** The router throws this for a body whose Content-Type the route's schema does not take. */
const isUnsupportedMedia = (error: unknown) => error instanceof HTTPException && error.status === 415;

/** A 415 that names the media types which the matched route takes. */
function unsupportedMedia(app: Router, c: Context): Problem {
  const matched = new Set(matchedRoutes(c).map(({ path }) => path));
  const taken = app.openAPIRegistry.definitions.flatMap((definition) => {
    if (definition.type !== "route" || definition.route.method !== c.req.method.toLowerCase()) return [];
    const { path, request } = definition.route;
    return matched.has(path.replaceAll(/\{([^{}]+)\}/g, ":$1"))
      ? Object.keys(request?.body?.content ?? {})
      : [];
  });
  const types = taken.join(" or ") || "that this route takes";
  return new Problem("unsupported-media", `Send the body with the Content-Type ${types}.`);
}

/**
 * For `createRoute`: the scopes that a route needs, all of them. They are written to the document, and enforced. A
 * route that shows something other than what its caller has just sent needs "read", whatever else it needs.
 */
export function needs(...scopes: Scope[]) {
  return { security: [{ token: scopes }], middleware: requireScope(...scopes) };
}

/** As `needs`, for a route that keeps a token to its bounds (bounds.ts). All others are closed to bound tokens. */
export function needsWithin(...scopes: Scope[]) {
  return { security: [{ token: scopes }], middleware: requireScopeWithin(...scopes) };
}

interface ProblemResponse {
  description: string;
  content: { "application/problem+json": { schema: typeof problemSchema } };
}

/** For `createRoute`: the error responses of a route, by status, besides those that every closed route can give. */
export function problems<Status extends number = never>(
  descriptions?: Record<Status, string>,
): Record<Status | 401 | 403 | 503, ProblemResponse>;
export function problems(descriptions: Record<number, string> = {}): Record<number, ProblemResponse> {
  const everywhere = {
    401: "There is no token, or it is unknown.",
    403: "The token lacks the scope, or is bound and may not do this.",
    503: "What keeps the data does not respond, with Retry-After; or a secret of this Sluice is missing or wrong.",
  };
  return openProblems({ ...everywhere, ...descriptions });
}

/** For `createRoute`: the error responses of an open route, by status. */
export function openProblems<Status extends number>(
  descriptions: Record<Status, string>,
): Record<Status, ProblemResponse>;
export function openProblems(descriptions: Record<number, string>): Record<number, ProblemResponse> {
  const content = { "application/problem+json": { schema: problemSchema } };
  return Object.fromEntries(
    Object.entries(descriptions).map(([status, description]) => [Number(status), { description, content }]),
  );
}

/** For `createRoute`: a JSON response. */
export function json<S extends z.ZodType>(description: string, schema: S) {
  return { description, content: { "application/json": { schema } } };
}

/**
 * The Content-Security-Policy of a page: what `sources` name may load, and nothing else. What `default-src` does not
 * cover is closed too (CSP 3 §6.2 to §6.4): no base, no form, no frame around it.
 */
export function pagePolicy(...sources: string[]): { "Content-Security-Policy": string } {
  // Of a directive that is there twice, the first counts.
  const closed = ["default-src", "base-uri", "form-action", "frame-ancestors"]
    .filter((name) => !sources.some((source) => source.startsWith(`${name} `)))
    .map((name) => `${name} 'none'`);
  return { "Content-Security-Policy": [...closed, ...sources].join("; ") };
}

/** A route that serves a page, or other text that is read as it is. */
export function describePage<Path extends string>(
  { path, operationId, summary }: { path: Path; operationId: string; summary: string },
  type: string = "text/html",
) {
  return createRoute({
    method: "get",
    path,
    operationId,
    tags: ["Service"],
    summary,
    ...needsWithin("read"),
    responses: {
      200: { description: summary, content: { [type]: { schema: { type: "string" } } } },
      304: { description: "The client has it: `If-None-Match` has its ETag." },
      ...problems(),
    },
  });
}
