/**
 * CORS: which pages may call, and what they may read of a response (Fetch §3.2).
 *
 * The pages of `CORS_ORIGINS` may call any route, and read every header that Sluice sends. Only a preflight is
 * answered here; any other OPTIONS request goes on to its route.
 */
import type { MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import { readAccess } from "./access.ts";
import type { AppEnv } from "./app-env.ts";

export const allowOrigins: MiddlewareHandler<AppEnv> = async (c, next) => {
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

/** The caller has checked that the origin is allowed. */
const preflight = cors({
  origin: (origin) => origin,
  allowMethods: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
  maxAge: 7200,
});

/** What a page may read besides the safelisted headers. `*` has no effect on a request with credentials. */
export const EXPOSED_HEADERS = [
  "Accept-Patch",
  "Accept-Post",
  "Allow",
  "Server-Timing",
  "WWW-Authenticate",
  "Location",
  "Preference-Applied",
  "Sluice-Outcome",
  "Content-Location",
  "Link",
  "ETag",
  "Accept-Ranges",
  "Content-Range",
  "Content-Disposition",
  "Repr-Digest",
  "RateLimit",
  "RateLimit-Policy",
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
