/**
 * Sessions of the dashboard: a browser shows its token once, and from then on a cookie that no script can read.
 *
 * One Durable Object keeps them, so that they can be ended everywhere. It knows a session by the SHA-256 of its id, and
 * its token by the SHA-256 that the configuration has: neither can be used by whoever reads the storage. A session has
 * just the scopes and bounds of its token, and ends with it. An isolate believes what it has read for `BELIEF_MS`: that long a session
 * that was ended elsewhere may still be used there.
 */
import { DurableObject } from "cloudflare:workers";
import { createHash, randomBytes } from "node:crypto";
import type { Principal } from "./app-env.ts";
import { callObject, markRepeatable, objectNamed } from "./objects.ts";
import { findTokenByDigest } from "./tokens.ts";

/** The prefix binds it to this host, all of its paths, and TLS (draft-ietf-httpbis-rfc6265bis §4.1.3.2). */
const COOKIE = "__Host-sluice";
export const SESSION_SECONDS = 12 * 3600;
const BELIEF_MS = 30_000;
const MAX_BELIEVED = 1_000;
/** The oldest session of a token makes room for a new one. */
const MAX_PER_TOKEN = 20;

interface SessionRow {
  token_sha256: string;
  expires_at_ms: number;
}

/** The object "sessions". */
export class Sessions extends DurableObject<Env> {
  readonly #sql = this.ctx.storage.sql;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#sql.exec(`
      CREATE TABLE IF NOT EXISTS session (
        id_sha256     TEXT PRIMARY KEY,
        token_sha256  TEXT NOT NULL,
        expires_at_ms INTEGER NOT NULL
      )`);
  }

  create(idSha256: string, tokenSha256: string, expiresAtMs: number): void {
    this.#sql.exec("DELETE FROM session WHERE expires_at_ms <= ?", Date.now());
    this.#sql.exec("INSERT OR REPLACE INTO session VALUES (?, ?, ?)", idSha256, tokenSha256, expiresAtMs);
    this.#sql.exec(
      `DELETE FROM session WHERE id_sha256 IN (
         SELECT id_sha256 FROM session WHERE token_sha256 = ? ORDER BY expires_at_ms DESC, id_sha256 LIMIT -1 OFFSET ?)`,
      tokenSha256,
      MAX_PER_TOKEN,
    );
  }

  find(idSha256: string): SessionRow | undefined {
    return this.#sql
      .exec<SessionRow & Record<string, SqlStorageValue>>(
        "SELECT token_sha256, expires_at_ms FROM session WHERE id_sha256 = ? AND expires_at_ms > ?",
        idSha256,
        Date.now(),
      )
      .toArray()[0];
  }

  end(idSha256: string): void {
    this.#sql.exec("DELETE FROM session WHERE id_sha256 = ?", idSha256);
  }

  endAllOf(tokenSha256: string): void {
    this.#sql.exec("DELETE FROM session WHERE token_sha256 = ?", tokenSha256);
  }
}

markRepeatable(Sessions, "create", "find", "end", "endAllOf");

const sessionsOf = (env: Env) => objectNamed(env, "SESSIONS", "sessions");

const believed = new Map<string, { session: SessionRow; untilMs: number }>();

/** Begins a session of the token with this SHA-256 (hexadecimal). Resolves to the cookie's value, and when it expires. */
export async function beginSession(
  env: Env,
  tokenSha256: string,
): Promise<{ id: string; expiresAtMs: number }> {
  const id = randomBytes(32).toString("base64url");
  const expiresAtMs = Date.now() + SESSION_SECONDS * 1000;
  await callObject(async () => sessionsOf(env).create(sha256(id), tokenSha256, expiresAtMs));
  return { id, expiresAtMs };
}

/** The session of a request, and who it speaks for. Undefined if it has none, or if that has ended with its token. */
export async function findSession(
  env: Env,
  request: Request,
): Promise<{ principal: Principal; tokenSha256: string; expiresAtMs: number } | undefined> {
  const id = readCookie(request.headers);
  if (id === undefined) return undefined;
  const key = sha256(id);
  const session = await readSession(env, key);
  if (!session || session.expires_at_ms <= Date.now()) return undefined;
  const token = findTokenByDigest(env, session.token_sha256);
  if (!token || token.expiresAtMs <= Date.now()) return undefined;
  const { name, scopes, bounds } = token;
  return {
    principal: { name, scopes, bounds },
    tokenSha256: session.token_sha256,
    expiresAtMs: Math.min(session.expires_at_ms, token.expiresAtMs),
  };
}

async function readSession(env: Env, key: string): Promise<SessionRow | undefined> {
  const known = believed.get(key);
  if (known && known.untilMs > Date.now()) return known.session;
  const session = await callObject(async () => sessionsOf(env).find(key));
  believed.delete(key);
  if (!session) return undefined;
  if (believed.size >= MAX_BELIEVED) believed.clear();
  believed.set(key, { session, untilMs: Date.now() + BELIEF_MS });
  return session;
}

/** Ends the session of a request, or all of its token's. */
export async function endSessions(env: Env, request: Request, which: "this" | "all"): Promise<void> {
  const id = readCookie(request.headers);
  if (id === undefined) return;
  const session = await findSession(env, request);
  believed.clear();
  if (which === "all" && session) await callObject(async () => sessionsOf(env).endAllOf(session.tokenSha256));
  else await callObject(async () => sessionsOf(env).end(sha256(id)));
}

/** The value of a Set-Cookie header; without an id, one that removes the cookie. */
export function setCookie(id = "", maxAgeSeconds = 0): string {
  return `${COOKIE}=${id}; Path=/; Max-Age=${maxAgeSeconds}; Secure; HttpOnly; SameSite=Strict`;
}

function readCookie(headers: Headers): string | undefined {
  const pairs = (headers.get("Cookie") ?? "").split(/; ?/);
  const own = pairs
    .filter((pair) => pair.startsWith(`${COOKIE}=`))
    .map((pair) => pair.slice(COOKIE.length + 1));
  // Two of one name: somebody else has set one of them.
  return own.length === 1 && /^[\w-]{43}$/.test(own[0] ?? "") ? own[0] : undefined;
}

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
