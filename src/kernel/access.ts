/**
 * Who may call.
 *
 * Sluice is closed until it is opened: with no token configured, every request is refused. A caller sends a token as
 * `Authorization: Bearer` (RFC 6750). So that a browser can open the pages, the token may also be the password of
 * `Basic` (RFC 7617, with any user name). `ACCESS=local` lets requests to a loopback name in without a token.
 *
 * Credentials that a browser adds by itself (Basic, or being on this machine) are ambient: a page of another site
 * could use them. `other-sites.ts` refuses such a request, unless `CORS_ORIGINS` names the site.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import type { MiddlewareHandler } from "hono";
import { z } from "zod";
import { type AppEnv, type Principal, SCOPES, type Scope } from "./app-env.ts";
import { isToLoopback, refuseOtherSites, refuseRebound } from "./other-sites.ts";
import { Problem } from "./problem.ts";
import { perEnv, readVariable } from "./variables.ts";

const originSchema = z
  .url()
  .refine((text) => URL.canParse(text) && new URL(text).origin === text && !text.includes("*"), {
    message: "an origin is scheme, host and port, and nothing more: https://app.example.com",
  });

/** What `.dev.vars.example` has in place of a token, and what people write there. */
const PLACEHOLDER = /openssl rand|change[ -_]?me|at least 32 characters/i;

const tokensSchema = z
  .array(
    z.strictObject({
      name: z.string().min(1),
      scopes: z.array(z.enum(SCOPES)).min(1),
      token: z
        .string()
        .refine((text) => !PLACEHOLDER.test(text), {
          abort: true,
          message:
            "this is still the placeholder; replace it, in the line of .dev.vars that begins with SLUICE_TOKENS, " +
            "with what `openssl rand -hex 32` prints",
        })
        .min(32, "a token has at least 32 characters")
        .regex(/^[\w.~+/-]+=*$/, "a token is made of letters, digits and -._~+/ (RFC 6750 §2.1)"),
    }),
  )
  .default([])
  .superRefine((tokens, refinement) => {
    const seen = new Set<string>();
    for (const [i, { token }] of tokens.entries()) {
      if (seen.has(token))
        refinement.addIssue({
          code: "custom",
          path: [i, "token"],
          message: "is the token of an earlier entry",
        });
      seen.add(token);
    }
  });

interface Access {
  localIsOpen: boolean;
  /** The sites whose pages may call. */
  corsOrigins: string[];
  tokens: (Principal & { digest: Buffer })[];
}

export const readAccess = perEnv((env): Access => {
  const tokens = readVariable(env, "SLUICE_TOKENS", tokensSchema);
  return {
    localIsOpen: readVariable(env, "ACCESS", z.enum(["tokens", "local"])) === "local",
    corsOrigins: readVariable(env, "CORS_ORIGINS", z.array(originSchema).default([])),
    tokens: tokens.map(({ token, name, scopes }) => ({ name, scopes, digest: sha256(token) })),
  };
});

/** How many different callers there can be, by the names of their tokens. */
export function countCallers(env: Env): number {
  const { tokens, localIsOpen } = readAccess(env);
  return new Set(tokens.map(({ name }) => name)).size + Number(localIsOpen);
}

/** Finds out who is calling, or rejects the request with 401. */
export const authenticate: MiddlewareHandler<AppEnv> = async (c, next) => {
  c.set("principal", identify(readAccess(c.env), c.req.raw));
  await next();
};

/** Lets a caller with all of these scopes through, and rejects any other with 403. */
export const requireScope =
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

function identify(access: Access, request: Request): Principal {
  const { token, ambient } = readCredentials(request.headers.get("Authorization"));
  const isLocal = isToLoopback(request);
  if (token === undefined && access.localIsOpen && isLocal) {
    refuseOtherSites(access.corsOrigins, request);
    refuseRebound(request);
    return { name: "local", scopes: SCOPES };
  }
  if (access.tokens.length === 0) {
    throw unauthorized(
      `This Sluice has no tokens, so it refuses everything but /healthz. ${isLocal ? OPEN_LOCALLY : SET_TOKENS}`,
    );
  }
  if (token === undefined) throw unauthorized("Send a token: `Authorization: Bearer …`.");
  const principal = findToken(access, token);
  if (!principal) throw unauthorized("This token is unknown.", ', error="invalid_token"');
  if (ambient) refuseOtherSites(access.corsOrigins, request);
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

/** Compares with every token, in constant time, so that the time reveals nothing about any of them. */
function findToken(access: Access, token: string): Principal | undefined {
  const digest = sha256(token);
  let found: Principal | undefined;
  for (const candidate of access.tokens) {
    if (timingSafeEqual(candidate.digest, digest)) found = candidate;
  }
  return found;
}

function unauthorized(detail: string, bearerError = ""): Problem {
  const challenge = `Bearer realm="sluice"${bearerError}, Basic realm="sluice", charset="UTF-8"`;
  return new Problem("unauthorized", detail, { headers: { "WWW-Authenticate": challenge } });
}

const sha256 = (text: string): Buffer => createHash("sha256").update(text).digest();
