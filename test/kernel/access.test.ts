import { env } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import { readAccess } from "../../src/kernel/access.ts";
import { callForJson, callWorker } from "../support/call.ts";

const READER = "reader-token-0123456789-0123456789";
const WRITER = "writer-token-0123456789-0123456789";
const TOKENS = [
  { name: "reader", scopes: ["read"], token: READER },
  { name: "writer", scopes: ["write"], token: WRITER },
];
const REMOTE = { site: "https://sluice.example.com", variables: { ACCESS: "tokens", SLUICE_TOKENS: TOKENS } };
/** Base64 that decodes to the same bytes in a lenient decoder: the bits that its padding leaves over are set. */
const otherLastBits = (header: string) =>
  header.replace(/([A-Za-z0-9+/])(=+)$/, (_all, last: string, padding: string) => {
    const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    return `${digits[digits.indexOf(last) + 1]}${padding}`;
  });
const basic = (password: string) => `Basic ${btoa(`anyone:${password}`)}`;

describe("with tokens configured", () => {
  test.each([
    ["a known token", `Bearer ${READER}`, 200],
    ["a known token, scheme in another case", `bearer ${READER}`, 200],
    ["a known token as the Basic password", basic(READER), 200],
    ["no token", undefined, 401],
    ["an unknown token", "Bearer reader-token-0123456789-012345678X", 401],
    ["the beginning of a token", `Bearer ${READER.slice(0, -1)}`, 401],
    ["an empty token", "Bearer ", 401],
    ["another scheme", `Digest ${READER}`, 401],
    ["a Basic password that is unknown", basic("nope"), 401],
    ["a Basic header that is not base64", "Basic %%%", 401],
    ["a Basic header with junk in its base64", `${basic(READER).slice(0, 8)}!${basic(READER).slice(8)}`, 401],
    ["a Basic header with spaces in its base64", `${basic(READER)} =`, 401],
    ["a Basic header of base64url", basic(READER).replace(/=*$/, "-_"), 401],
    ["a Basic header without its padding", `Basic ${btoa(`ab:${READER}`).replace(/=+$/, "")}`, 401],
    ["a Basic header with other last bits", otherLastBits(basic(READER)), 401],
    ["a Basic header without a colon", `Basic ${btoa(READER)}`, 401],
    ["a Basic header with a control character", `Basic ${btoa(`a\n:${READER}`)}`, 401],
    ["a Basic header that is not UTF-8", `Basic ${btoa(`\xff:${READER}`)}`, 401],
    [
      "a Basic header with a user of other letters",
      `Basic ${Buffer.from(`jürgen:${READER}`).toString("base64")}`,
      200,
    ],
    ["a Basic header without a user", `Basic ${btoa(`:${READER}`)}`, 200],
    ["a Basic header whose password has a colon more", `Basic ${btoa(`a:b:${READER}`)}`, 401],
    ["a token without the scope", `Bearer ${WRITER}`, 403],
  ])("%s", async (_name, authorization, status) => {
    const headers = authorization === undefined ? {} : { Authorization: authorization };
    const { response } = await callWorker("/openapi.json", { ...REMOTE, headers });
    expect(response.status).toBe(status);
    if (status !== 200) expect(response.headers.get("Content-Type")).toBe("application/problem+json");
  });

  test("a 401 challenges for Bearer and for Basic, and distinguishes a wrong token from none", async () => {
    const none = await callForJson("/data", REMOTE);
    expect(none.headers.get("WWW-Authenticate")).toBe(
      'Bearer realm="sluice", Basic realm="sluice", charset="UTF-8"',
    );
    const wrong = await callForJson("/data", { ...REMOTE, headers: { Authorization: "Bearer wrong" } });
    expect(wrong.headers.get("WWW-Authenticate")).toContain('error="invalid_token"');
  });

  test("a 403 names the scope that is missing", async () => {
    const { status, headers, body } = await callForJson("/run-tasks", {
      ...REMOTE,
      headers: { Authorization: `Bearer ${READER}` },
    });
    expect(status).toBe(403);
    expect(headers.get("WWW-Authenticate")).toContain('error="insufficient_scope", scope="write"');
    expect(body.detail).toContain('"write"');
  });

  test.each([
    ["cross-site", basic(READER), 403],
    ["same-site", basic(READER), 403],
    ["same-origin", basic(READER), 200],
    ["none", basic(READER), 200],
    ["cross-site", `Bearer ${READER}`, 200],
  ])("what a browser sends from a %s page with %s", async (site, authorization, status) => {
    const { response } = await callWorker("/openapi.json", {
      ...REMOTE,
      headers: { Authorization: authorization, "Sec-Fetch-Site": site },
    });
    expect(response.status).toBe(status);
  });
});

test("every closed route refuses a token that has every scope but one of those that the document names", async () => {
  const { body } = await callForJson("/openapi.json");
  const paths = body.paths as Record<string, Record<string, { security?: { token: string[] }[] }>>;
  let seen = 0;
  for (const [path, item] of Object.entries(paths)) {
    for (const [method, { security }] of Object.entries(item)) {
      for (const needed of security?.[0]?.token ?? []) {
        seen++;
        const scopes = ["read", "write", "admin"].filter((scope) => scope !== needed);
        const variables = { ACCESS: "tokens", SLUICE_TOKENS: [{ name: "t", scopes, token: READER }] };
        const options = {
          ...REMOTE,
          variables,
          method: method.toUpperCase(),
          headers: { Authorization: `Bearer ${READER}` },
        };
        const { response } = await callWorker(path.replaceAll(/[{}]/g, ""), options);
        expect([path, method, needed, response.status]).toEqual([path, method, needed, 403]);
        expect(response.headers.get("WWW-Authenticate")).toContain(
          `scope="${security?.[0]?.token.join(" ")}"`,
        );
      }
    }
  }
  expect(seen).toBeGreaterThan(30);
});

describe("closed unless opened", () => {
  const CLOSED = {
    site: "https://sluice.example.com",
    variables: { ACCESS: "tokens", SLUICE_TOKENS: undefined },
  };

  /** What anybody gets from the open routes of Sluice itself. */
  const OPEN = {
    "GET /healthz": 200,
    "GET /favicon.ico": 200,
    // No key has signed this link.
    "GET /files/{id}/links/{token}": 403,
    // The protocols that the server speaks, as tus requires; nothing about any upload.
    "OPTIONS /uploads": 200,
    "OPTIONS /uploads/{id}": 200,
  };

  const call = async (method: string, path: string) =>
    (await callWorker(path.replaceAll(/[{}]/g, ""), { ...CLOSED, method })).response.status;

  test("without any token, every route is refused but those that the document shows as open", async () => {
    const { body } = await callForJson("/openapi.json");
    const paths = body.paths as Record<string, Record<string, { security?: unknown[] }>>;
    // A path can be an example of another one, which is open.
    const isOpenElsewhere = (method: string, path: string) =>
      Object.entries(paths).some(
        ([template, operations]) =>
          operations[method.toLowerCase()]?.security?.length === 0 &&
          new RegExp(`^${template.replaceAll(/\{\w+\}/g, "[^/]+")}$`).test(path),
      );
    let closed = 0;
    for (const path of [...Object.keys(paths), "/docs/start.js", "/no/such/route"]) {
      for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
        const operation = paths[path]?.[method.toLowerCase()];
        if (operation && !operation.security?.length) continue;
        if (!operation && isOpenElsewhere(method, path)) continue;
        expect([method, path, await call(method, path)]).toEqual([method, path, 401]);
        closed++;
      }
    }
    expect(closed).toBeGreaterThan(100);
  });

  test.each(Object.entries(OPEN))("%s is open, and the document says so", async (route, status) => {
    const [method = "", path = ""] = route.split(" ");
    const { body } = await callForJson("/openapi.json");
    expect(body).toHaveProperty(["paths", path, method.toLowerCase(), "security"], []);
    expect(await call(method, path)).toBe(status);
  });

  test("the 401 says what to do next, where the Worker runs", async () => {
    const { body } = await callForJson("/data", CLOSED);
    expect(body.detail).toContain("npx wrangler secret put SLUICE_TOKENS");
    for (const site of ["http://localhost:8787", "http://127.0.0.1:8787"]) {
      const local = await callForJson("/data", { ...CLOSED, site });
      expect([local.status, local.body.detail]).toEqual([
        401,
        expect.stringMatching(/npm run dev.*\.dev\.vars/),
      ]);
    }
  });

  test("a token does not open a Sluice that has none", async () => {
    const { status } = await callForJson("/data", { ...CLOSED, headers: { Authorization: "Bearer " } });
    expect(status).toBe(401);
  });
});

describe("ACCESS=local", () => {
  test.each([
    ["http://localhost:8787", {}, 200],
    ["http://127.0.0.1:8787", {}, 200],
    ["http://[::1]:8787", {}, 200],
    ["http://127.0.0.1.example.com", {}, 401],
    ["http://localhost.example.com", {}, 401],
    ["https://sluice.example.com", {}, 401],
    ["http://localhost:8787", { "Sec-Fetch-Site": "cross-site" }, 403],
    ["http://localhost:8787", { "Sec-Fetch-Site": "same-origin" }, 200],
    ["http://localhost:8787", { Authorization: "Bearer nobody-has-this" }, 401],
  ])("%s %o", async (site, headers, status) => {
    const { response } = await callWorker("/openapi.json", { site, headers });
    expect(response.status).toBe(status);
  });
});

describe("a request with ambient credentials, from a page of another site:", () => {
  const CORS_ORIGINS = ["https://app.example.com"];
  const call = async (site: string, headers: Record<string, string>) => {
    const variables = { CORS_ORIGINS, ...(site.includes("localhost") ? {} : REMOTE.variables) };
    const { response } = await callWorker("/openapi.json", {
      site,
      variables,
      headers: { "Sec-Fetch-Site": "cross-site", ...headers },
    });
    return response.status;
  };

  test.each([
    ["a site that CORS_ORIGINS names", "https://app.example.com", 200],
    ["a site that begins the same", "https://app.example.com.evil.example", 403],
    ["the same name by another scheme", "http://app.example.com", 403],
    ["the same name on another port", "https://app.example.com:444", 403],
    ["a page without an origin", "null", 403],
  ])("%s", async (_name, Origin, status) => {
    expect(await call("http://localhost:8787", { Origin })).toBe(status);
    expect(await call("https://sluice.example.com", { Origin, Authorization: basic(READER) })).toBe(status);
  });

  test("no Origin at all", async () => {
    expect(await call("http://localhost:8787", {})).toBe(403);
  });
});

describe("CORS_ORIGINS", () => {
  const read = (CORS_ORIGINS: unknown) => readAccess(Object.assign({}, env, { CORS_ORIGINS })).corsOrigins;

  test.each([
    [undefined, []],
    [[], []],
    [
      ["https://app.example.com", "http://localhost:3000"],
      ["https://app.example.com", "http://localhost:3000"],
    ],
    ['["https://app.example.com"]', ["https://app.example.com"]],
  ])("%j", (variable, origins) => {
    expect(read(variable)).toEqual(origins);
  });

  test.each([
    ["*"],
    ["null"],
    [""],
    ["app.example.com"],
    ["https://app.example.com/"],
    ["https://app.example.com:443"],
    ["https://app.example.com/page"],
    ["https://*.example.com"],
    ["https://APP.example.com"],
    ["https://user@app.example.com"],
    ["file:///tmp"],
  ])("%s is not an origin, and the Worker does not start", (origin) => {
    expect(() => read([origin])).toThrow("CORS_ORIGINS.0");
  });
});
