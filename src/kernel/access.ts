/**
 * Who may call.
 *
 * Sluice is closed until it is opened: with no token configured, every request is refused. A caller sends a token as
 * `Authorization: Bearer` (RFC 6750). So that a browser can open the pages, the token may also be the password of
 * `Basic` (RFC 7617, with any user name). The dashboard trades it for a session (`sessions.ts`). `ACCESS=local` lets
 * requests to a loopback name in without a token.
 *
 * Credentials that a browser adds by itself (Basic, a session, or being on this machine) are ambient: a page of another
 * site could use them. `other-sites.ts` refuses such a request, unless `CORS_ORIGINS` names the site. A session is for
 * pages of this origin alone.
 */
import type { MiddlewareHandler } from "hono";
import { z } from "zod";
import type { AppEnv, Principal, Scope } from "./app-env.ts";
import { isToLoopback, refuseOtherSites, refuseRebound, requireOwnPage } from "./other-sites.ts";
import { Problem } from "./problem.ts";
import { findSession } from "./sessions.ts";
import { checkTokens, countTokenNames, findToken, hasTokens } from "./tokens.ts";
import { perEnv, readVariable } from "./variables.ts";

const originSchema = z
  .url()
  .refine((text) => URL.canParse(text) && new URL(text).origin === text && !text.includes("*"), {
    message: "an origin is scheme, host and port, and nothing more: https://app.example.com",
  });

interface Access {
  localIsOpen: boolean;
  /** The sites whose pages may call. */
  corsOrigins: string[];
}

export const readAccess = perEnv(
  (env): Access => ({
    localIsOpen: readVariable(env, "ACCESS", z.enum(["tokens", "local"])) === "local",
    corsOrigins: readVariable(env, "CORS_ORIGINS", z.array(originSchema).default([])),
  }),
);

/** How many different callers there can be, by the names of their tokens. */
export const countCallers = (env: Env): number => countTokenNames(env) + Number(readAccess(env).localIsOpen);

/** Finds out who is calling, or rejects the request with 401. */
export const authenticate: MiddlewareHandler<AppEnv> = async (c, next) => {
  c.set("principal", await identify(c.env, c.req.raw));
  await next();
};

/** The scopes of a caller that needs no token. */
const EVERYTHING: readonly Scope[] = ["read", "write", "admin"];

/** Lets a caller with all of these scopes through, and rejects any other with 403, and every bound token. */
export const requireScope =
  (...scopes: Scope[]): MiddlewareHandler<AppEnv> =>
  async (c, next) => {
    await requireScopeWithin(...scopes)(c, async () => {});
    if (c.get("principal").bounds) {
      throw new Problem(
        "forbidden",
        "This token is bound to its own, to some files or to some task types, and this route reaches beyond that.",
      );
    }
    await next();
  };

/** As `requireScope`, for a route that keeps a bound token to its bounds. */
export const requireScopeWithin =
  (...scopes: Scope[]): MiddlewareHandler<AppEnv> =>
  async (c, next) => {
    const missing = scopes.filter((scope) => !c.get("principal").scopes.includes(scope));
    if (missing.length > 0) {
      const named = scopes.map((scope) => `"${scope}"`).join(" and ");
      const detail = `This needs a token with the scope${scopes.length > 1 ? "s" : ""} ${named}.`;
      // RFC 6750 §3: all that are needed, separated by spaces.
      const challenge = `Bearer realm="sluice", error="insufficient_scope", scope="${scopes.join(" ")}"`;
      throw new Problem("forbidden", detail, { headers: { "WWW-Authenticate": challenge } });
    }
    await next();
  };

async function identify(env: Env, request: Request): Promise<Principal> {
  const access = readAccess(env);
  const { token, ambient } = readCredentials(request.headers.get("Authorization"));
  if (token === undefined && access.localIsOpen && isToLoopback(request)) {
    refuseOtherSites(access.corsOrigins, request);
    refuseRebound(request);
    return { name: "local", scopes: EVERYTHING };
  }
  if (!hasTokens(env)) {
    throw unauthorized(
      `This Sluice has no tokens, so it refuses everything but /healthz. ${isToLoopback(request) ? OPEN_LOCALLY : SET_TOKENS}`,
    );
  }
  if (token === undefined) {
    const session = await findSession(env, request);
    if (!session) throw unauthorized("Send a token: `Authorization: Bearer …`.");
    requireOwnPage(request);
    return session.principal;
  }
  const principal = identifyToken(env, token);
  if (ambient) refuseOtherSites(access.corsOrigins, request);
  return principal;
}

/** Whose token it is. Throws a `Problem` 401 if it is unknown or has expired. */
export function identifyToken(env: Env, token: string): Principal {
  const principal = findToken(env, token);
  if (!principal) {
    // It may be in the secret that cannot be read.
    checkTokens(env);
    throw unauthorized("This token is unknown.", ', error="invalid_token"');
  }
  if (principal.expiresAtMs <= Date.now()) {
    const expired = new Date(principal.expiresAtMs).toISOString();
    throw unauthorized(`This token expired at ${expired}.`, ', error="invalid_token"');
  }
  return principal;
}

const OPEN_LOCALLY =
  "On this machine, start it with `npm run dev` (or `npm start`), which needs no token; or put a token of your own " +
  "into .dev.vars, as .dev.vars.example shows.";
const SET_TOKENS =
  "Set the secret SLUICE_TOKENS (`npx wrangler secret put SLUICE_TOKENS`); src/kernel/README.md says how.";

/** The token of an Authorization header. A header that cannot be read has the empty token, which nobody has. */
function readCredentials(header: string | null): { token?: string; ambient: boolean } {
  if (header === null) return { ambient: false };
  const [, scheme = "", credentials = ""] = /^(\S+) +(\S+) *$/.exec(header) ?? [];
  if (scheme.toLowerCase() === "bearer") return { token: credentials, ambient: false };
  if (scheme.toLowerCase() !== "basic") return { token: "", ambient: false };
  return { token: readPassword(credentials), ambient: true };
}

/** RFC 7617 §2: the base64 of user, colon and password, in UTF-8, without control characters. "" for anything else. */
function readPassword(credentials: string): string {
  const bytes = Buffer.from(credentials, "base64");
  // Node skips what is not base64; others would read something else.
  if (bytes.toString("base64") !== credentials) return "";
  const text = bytes.toString("utf8");
  const colon = text.indexOf(":");
  const isText = !text.includes("\ufffd") && !/\p{Cc}/u.test(text);
  return colon === -1 || !isText ? "" : text.slice(colon + 1);
}

function unauthorized(detail: string, bearerError = ""): Problem {
  const challenge = `Bearer realm="sluice"${bearerError}, Basic realm="sluice", charset="UTF-8"`;
  return new Problem("unauthorized", detail, { headers: { "WWW-Authenticate": challenge } });
}
