/**
 * Who may call.
 *
 * Closed unless opened: without a configured token every request is refused. A caller shows a token as
 * `Authorization: Bearer` (RFC 6750), or, so that a browser can open the pages, as the password of `Basic`
 * (RFC 7617; any user name). `ACCESS=local` lets requests to a loopback name in without one.
 *
 * What a browser adds by itself (Basic, or being on this machine) is ambient: a page of another site could
 * make use of it, so such a request is refused when the browser says that it comes from another site, unless
 * `CORS_ORIGINS` names that site.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import type { MiddlewareHandler } from "hono";
import { z } from "zod";
import { type AppEnv, type Principal, SCOPES, type Scope } from "./app-env.ts";
import { Problem } from "./problem.ts";
import { perEnv, readVariable } from "./variables.ts";

const originSchema = z
  .url()
  .refine((text) => URL.canParse(text) && new URL(text).origin === text && !text.includes("*"), {
    message: "an origin is scheme, host and port, and nothing more: https://app.example.com",
  });

const tokensSchema = z
  .array(
    z.strictObject({
      name: z.string().min(1),
      scopes: z.array(z.enum(SCOPES)).min(1),
      token: z
        .string()
        .min(32, "a token has at least 32 characters")
        .regex(/^[\w.~+/-]+=*$/, "a token is made of letters, digits and -._~+/ (RFC 6750 §2.1)"),
    }),
  )
  .default([]);

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

/** Finds out who is calling, or answers 401. */
export const authenticate: MiddlewareHandler<AppEnv> = async (c, next) => {
  c.set("principal", identify(readAccess(c.env), c.req.raw));
  await next();
};

/** Lets a caller through who has the scope, or answers 403. */
export const requireScope =
  (scope: Scope): MiddlewareHandler<AppEnv> =>
  async (c, next) => {
    if (!c.get("principal").scopes.includes(scope)) {
      throw new Problem("forbidden", `This needs a token with the scope "${scope}".`, {
        headers: {
          "WWW-Authenticate": `Bearer realm="sluice", error="insufficient_scope", scope="${scope}"`,
        },
      });
    }
    await next();
  };

function identify(access: Access, request: Request): Principal {
  const { token, ambient } = shownToken(request.headers.get("Authorization"));
  if (token === undefined && access.localIsOpen && isLoopback(new URL(request.url).hostname)) {
    refuseOtherSites(access, request);
    return { name: "local", scopes: SCOPES };
  }
  if (access.tokens.length === 0) {
    throw unauthorized(
      "This Sluice has no tokens, so it refuses everything but /healthz. Set the secret SLUICE_TOKENS " +
        "(`npx wrangler secret put SLUICE_TOKENS`); the README says how.",
    );
  }
  if (token === undefined) throw unauthorized("Send a token: `Authorization: Bearer …`.");
  const principal = findToken(access, token);
  if (!principal) throw unauthorized("This token is not known here.", ', error="invalid_token"');
  if (ambient) refuseOtherSites(access, request);
  return principal;
}

/** The token in an Authorization header. An unreadable header shows the empty token, which nobody has. */
function shownToken(header: string | null): { token?: string; ambient: boolean } {
  if (header === null) return { ambient: false };
  const [, scheme = "", credentials = ""] = /^(\S+) +(\S+) *$/.exec(header) ?? [];
  if (scheme.toLowerCase() === "bearer") return { token: credentials, ambient: false };
  if (scheme.toLowerCase() !== "basic") return { token: "", ambient: false };
  const userAndPassword = Buffer.from(credentials, "base64").toString("utf8");
  return { token: userAndPassword.slice(userAndPassword.indexOf(":") + 1), ambient: true };
}

/** Compares with every token, in a time that tells nothing about any of them. */
function findToken(access: Access, token: string): Principal | undefined {
  const digest = sha256(token);
  let found: Principal | undefined;
  for (const candidate of access.tokens) {
    if (timingSafeEqual(candidate.digest, digest)) found = candidate;
  }
  return found;
}

function refuseOtherSites({ corsOrigins }: Access, request: Request): void {
  const site = request.headers.get("Sec-Fetch-Site") ?? "none";
  if (site === "same-origin" || site === "none") return;
  if (corsOrigins.includes(request.headers.get("Origin") ?? "")) return;
  throw new Problem(
    "forbidden",
    "A page of another site cannot call this without a Bearer token of its own.",
    {
      headers: { "WWW-Authenticate": 'Bearer realm="sluice"' },
    },
  );
}

function unauthorized(detail: string, bearerError = ""): Problem {
  const challenge = `Bearer realm="sluice"${bearerError}, Basic realm="sluice", charset="UTF-8"`;
  return new Problem("unauthorized", detail, { headers: { "WWW-Authenticate": challenge } });
}

const isLoopback = (hostname: string) => /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);

const sha256 = (text: string): Buffer => createHash("sha256").update(text).digest();
