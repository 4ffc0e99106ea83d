import { describe, expect, test } from "vitest";
import { callForJson, callWorker } from "../support/call.ts";
import worker from "../support/worker.ts";

const READER = "reader-token-0123456789-0123456789";
const WRITER = "writer-token-0123456789-0123456789";
const TOKENS = [
  { name: "reader", scopes: ["read"], token: READER },
  { name: "writer", scopes: ["write"], token: WRITER },
];
const REMOTE = { site: "https://sluice.example.com", variables: { ACCESS: "tokens", SLUICE_TOKENS: TOKENS } };
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
    ["a token without the scope", `Bearer ${WRITER}`, 403],
  ])("%s", async (_name, authorization, status) => {
    const headers = authorization === undefined ? {} : { Authorization: authorization };
    const { response } = await callWorker("/openapi.json", { ...REMOTE, headers });
    expect(response.status).toBe(status);
    if (status !== 200) expect(response.headers.get("Content-Type")).toBe("application/problem+json");
  });

  test("a 401 challenges for Bearer and for Basic, and tells a wrong token from none", async () => {
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

test("every route of the document refuses a token that has every scope but the one it names", async () => {
  const { body } = await callForJson("/openapi.json");
  const paths = body.paths as Record<string, Record<string, { security?: { token: string[] }[] }>>;
  let seen = 0;
  for (const [path, item] of Object.entries(paths)) {
    for (const [method, { security }] of Object.entries(item)) {
      const needed = security?.[0]?.token[0];
      if (path === "/healthz" || needed === undefined) continue;
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
      expect([path, method, response.status]).toEqual([path, method, 403]);
    }
  }
  expect(seen).toBeGreaterThan(8);
});

describe("closed unless opened", () => {
  const CLOSED = {
    site: "https://sluice.example.com",
    variables: { ACCESS: "tokens", SLUICE_TOKENS: undefined },
  };

  test("without any token configured, everything but /healthz is refused, and says why", async () => {
    const document = await callForJson("/openapi.json");
    const paths = [
      ...Object.keys(document.body.paths as object),
      "/",
      "/docs",
      "/docs/start.js",
      "/openapi.json",
      "/no/such/route",
    ];
    for (const path of paths) {
      for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
        const { response } = await callWorker(path, { ...CLOSED, method });
        const expected = path === "/healthz" && method === "GET" ? 200 : 401;
        expect([method, path, response.status]).toEqual([method, path, expected]);
      }
    }
    const { body } = await callForJson("/data", CLOSED);
    expect(body.detail).toContain("SLUICE_TOKENS");
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

test("the Worker exports what the runtime calls", () => {
  expect(Object.keys(worker).toSorted()).toEqual(["fetch", "scheduled"]);
});
