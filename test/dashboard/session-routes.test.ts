import { env } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { type CallOptions, callWorker } from "../support/call.ts";
import { keepQuiet } from "../support/quiet.ts";

keepQuiet();

const SITE = "https://sluice.example.com";
const READER = "session-reader-0123456789-0123456789";
const ADMIN = "session-admin-0123456789-01234567890";
const TOKENS = [
  { name: "reader", scopes: ["read"], token: READER },
  { name: "admin", scopes: ["read", "write", "admin"], token: ADMIN },
];
const OWN_PAGE = { Origin: SITE, "Sec-Fetch-Site": "same-origin" };

async function call(path: string, options: CallOptions = {}, tokens: object[] = TOKENS) {
  const variables = { ACCESS: "tokens", SLUICE_TOKENS: tokens };
  const { response } = await callWorker(path, { site: SITE, variables, ...options });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text };
}

const signIn = async (token: string, headers: Record<string, string> = OWN_PAGE) =>
  call("/session", {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify({ token }),
  });

async function cookieOf(token: string): Promise<string> {
  const { status, headers } = await signIn(token);
  expect(status).toBe(204);
  return headers.get("Set-Cookie")?.split(";")[0] ?? "";
}

const withCookie = (cookie: string, headers: Record<string, string> = OWN_PAGE) => ({
  headers: { Cookie: cookie, ...headers },
});

test("a token is traded for a cookie that no script can read, and that other sites do not send", async () => {
  const { headers } = await signIn(READER);
  const cookie = headers.get("Set-Cookie") ?? "";
  expect(cookie).toMatch(/^__Host-sluice=[\w-]{43}; /);
  for (const attribute of ["Path=/", "Max-Age=43200", "Secure", "HttpOnly", "SameSite=Strict"])
    expect(cookie.split("; ")).toContain(attribute);
  expect(cookie).not.toContain(READER);
});

test("a session has the scopes of its token, and no others", async () => {
  const cookie = await cookieOf(READER);
  const session = await call("/session", withCookie(cookie));
  expect(JSON.parse(session.text)).toMatchObject({ name: "reader", scopes: ["read"] });
  expect(Date.parse(JSON.parse(session.text).expiresAt)).toBeGreaterThan(Date.now() + 11 * 3_600_000);
  expect((await call("/upstreams", withCookie(cookie))).status).toBe(200);
  expect((await call("/run-tasks", { method: "POST", ...withCookie(cookie) })).status).toBe(403);
});

test.each([
  ["an unknown token", "session-nobody-0123456789-0123456789", OWN_PAGE, 401],
  ["an empty token", "", OWN_PAGE, 401],
  ["a page of another site", READER, { Origin: "https://evil.example", "Sec-Fetch-Site": "cross-site" }, 403],
  ["another site without Fetch Metadata", READER, { Origin: "https://evil.example" }, 403],
  ["no page at all", READER, {}, 403],
])("%s gets no session", async (_name, token, headers, status) => {
  const response = await signIn(token, headers);
  expect([response.status, response.headers.get("Set-Cookie")]).toEqual([status, null]);
});

describe("a session cannot be used", () => {
  test.each<[string, Record<string, string>]>([
    ["from another site", { Origin: "https://evil.example", "Sec-Fetch-Site": "cross-site" }],
    [
      "from another host of the same site",
      { Origin: "https://a.example.com", "Sec-Fetch-Site": "same-site" },
    ],
    ["without an Origin", {}],
    ["with a null Origin", { Origin: "null", "Sec-Fetch-Site": "cross-site" }],
  ])("to change something %s", async (_name, headers) => {
    const cookie = await cookieOf(ADMIN);
    const { status } = await call("/run-tasks", { method: "POST", ...withCookie(cookie, headers) });
    expect(status).toBe(403);
  });

  test.each([
    ["with another id", (cookie: string) => cookie.replace(/.$/, (last) => (last === "A" ? "B" : "A"))],
    ["twice in one request", (cookie: string) => `${cookie}; ${cookie}`],
    ["under another name", (cookie: string) => cookie.replace("__Host-", "")],
    ["with more behind it", (cookie: string) => `${cookie}x`],
  ])("%s", async (_name, change) => {
    const cookie = await cookieOf(READER);
    expect((await call("/session", withCookie(change(cookie)))).status).toBe(401);
    expect((await call("/session", withCookie(`a=b; ${cookie}; c=d`))).status).toBe(200);
  });

  test("once its token is gone", async () => {
    const cookie = await cookieOf(READER);
    expect((await call("/session", withCookie(cookie), TOKENS.slice(1))).status).toBe(401);
  });

  test("once its token has expired", async () => {
    const cookie = await cookieOf(READER);
    const expired = [{ ...TOKENS[0], expires_at: "2020-01-01T00:00:00Z" }];
    expect((await call("/session", withCookie(cookie), expired)).status).toBe(401);
  });

  test("once it has expired", async () => {
    const stub = env.SESSIONS.getByName("sessions");
    await stub.create("id", "token", Date.now() - 1);
    expect(await stub.find("id")).toBeUndefined();
  });
});

test("signing out ends one session; the others of its token go on", async () => {
  const [first, second] = [await cookieOf(READER), await cookieOf(READER)];
  const { status, headers } = await call("/session", { method: "DELETE", ...withCookie(first) });
  expect([status, headers.get("Set-Cookie")]).toEqual([204, expect.stringContaining("Max-Age=0")]);
  expect((await call("/session", withCookie(first))).status).toBe(401);
  expect((await call("/session", withCookie(second))).status).toBe(200);
});

test("all sessions of a token can be ended, and no others", async () => {
  const [first, second, other] = [await cookieOf(READER), await cookieOf(READER), await cookieOf(ADMIN)];
  expect((await call("/sessions", { method: "DELETE", ...withCookie(first) })).status).toBe(204);
  expect((await call("/session", withCookie(second))).status).toBe(401);
  expect((await call("/session", withCookie(other))).status).toBe(200);
});

test("the oldest of too many sessions of a token ends", async () => {
  const stub = env.SESSIONS.getByName("sessions");
  const later = Date.now() + 60_000;
  for (let i = 0; i <= 20; i++) await stub.create(`many-${i}`, "many", later + i);
  expect(await stub.find("many-0")).toBeUndefined();
  expect(await stub.find("many-1")).toBeDefined();
});

test("where access is open, nobody needs to sign in", async () => {
  const { response } = await callWorker("/session");
  expect(await response.json()).toEqual({
    name: "local",
    scopes: ["read", "write", "admin"],
    filePrefix: null,
    taskTypes: null,
    expiresAt: null,
  });
});
