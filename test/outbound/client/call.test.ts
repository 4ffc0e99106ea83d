/** One call: its redirects are followed by hand, and each is checked like the first request. */
import { env, reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { call } from "../../../src/outbound/client/call.ts";
import { startSilenceTimeout } from "../../../src/outbound/client/silence-timeout.ts";
import { type CallOptions, callForJson, callWorker, captureLogs } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { resetUpstream } from "../../support/scripted-upstream.ts";
import { IDLE, loadOf, parseUpstream } from "../../support/upstreams.ts";

const ORIGIN = "http://upstream.internal";
const ELSEWHERE = "https://files.example.net";

interface Seen {
  method: string;
  url: string;
  headers: Headers;
  body: string;
}

/** What the upstream has seen since the test began. */
let seen: Seen[] = [];

/** The upstream redirects to these locations, one after the other, and then responds. */
function redirectVia(status: number, ...locations: string[]): void {
  seen = [];
  resetUpstream(async (request) => {
    const { method, url, headers } = request;
    seen.push({ method, url, headers: new Headers(headers), body: await request.text() });
    const location = locations[seen.length - 1];
    if (location === undefined) return Response.json({ arrived: true });
    return new Response("moved", { status, headers: { Location: location } });
  });
}

const callApi = async (options?: CallOptions) => callForJson("/fetch/call-any/api/start?q=1", options);
const urls = () => seen.map(({ url }) => url);

keepQuiet();
beforeEach(() => reset());

describe("a redirect is followed", () => {
  test.each([
    ["to a path", "/api/next?r=2", `${ORIGIN}/api/next?r=2`],
    ["to a relative path", "next", `${ORIGIN}/api/next`],
    ["to a path with dots that stay inside the prefix", "../api/next", `${ORIGIN}/api/next`],
    ["to a query", "?q=2", `${ORIGIN}/api/start?q=2`],
    ["to the same origin", `${ORIGIN}/api/next`, `${ORIGIN}/api/next`],
    [
      "to the same origin, with userinfo, which is not sent",
      "http://user:pw@upstream.internal/api/next",
      `${ORIGIN}/api/next`,
    ],
    ["to a fragment, which is not sent", "/api/next#part", `${ORIGIN}/api/next`],
    ["to an origin that is allowed", `${ELSEWHERE}/any/path?x`, `${ELSEWHERE}/any/path?x`],
  ])("%s", async (_name, location, url) => {
    redirectVia(302, location);
    const { status, body } = await callApi();
    expect([status, body, urls()]).toEqual([200, { arrived: true }, [`${ORIGIN}/api/start?q=1`, url]]);
  });

  test.each([301, 302, 303, 307, 308])("when its status is %d", async (code) => {
    redirectVia(code, "/api/next");
    expect((await callApi()).status).toBe(200);
    expect(seen).toHaveLength(2);
  });

  test("five times, under one permit", async () => {
    redirectVia(302, ...["1", "2", "3", "4", "5"].map((n) => `/api/${n}`));
    expect((await callApi()).status).toBe(200);
    expect(urls().at(-1)).toBe(`${ORIGIN}/api/5`);
  });

  test("relative to the redirect before it", async () => {
    redirectVia(302, `${ELSEWHERE}/a/b`, "c");
    await callApi();
    expect(urls().at(-1)).toBe(`${ELSEWHERE}/a/c`);
  });
});

describe("a redirect is refused, with 502 and Proxy-Status,", () => {
  test.each([
    ["to another origin", "https://evil.example/api/next"],
    ["to another scheme", "https://upstream.internal/api/next"],
    ["to another port", `${ORIGIN}:8080/api/next`],
    ["to another port of an origin that is allowed", `${ELSEWHERE}:8443/`],
    ["to another scheme of an origin that is allowed", "http://files.example.net/"],
    ["to a host that begins like one that is allowed", `${ELSEWHERE}.evil.example/`],
    ["to an origin that is allowed, with userinfo", "https://user:pw@files.example.net/"],
    ["to userinfo that looks like the origin", "http://upstream.internal@evil.example/api/next"],
    ["to another origin, without a scheme", "//evil.example/api/next"],
    ["to another origin, with backslashes", "\\\\evil.example\\api\\next"],
    ["to this machine", "http://127.0.0.1/api/next"],
    ["to data", "data:application/json,{}"],
    ["to a script", "javascript:alert(1)"],
    ["to a path that is not allowed", "/admin"],
    ["to a path with dots that leave the prefix", "../admin"],
    ["to a path with an encoded slash", "/api/..%2fadmin"],
    ["to a path with two slashes", "/api//admin"],
    ["to something that is not a URL", "http://["],
  ])("%s", async (_name, location) => {
    redirectVia(302, location);
    const { status, headers, body } = await callApi();
    expect([status, body.type]).toEqual([502, "urn:sluice:problem:redirect-refused"]);
    expect(headers.get("Proxy-Status")).toBe("sluice; error=http_request_denied");
    expect(seen).toHaveLength(1);
    expect(await loadOf("call-any")).toEqual(IDLE);
  });

  test("the sixth time", async () => {
    redirectVia(302, ...[...Array(10).keys()].map((n) => `/api/${n}`));
    const { status, body } = await callApi();
    expect([status, body.type]).toEqual([502, "urn:sluice:problem:redirect-refused"]);
    expect(seen).toHaveLength(6);
  });

  test("from an origin that is allowed to one that is not", async () => {
    redirectVia(302, `${ELSEWHERE}/a`, "https://evil.example/");
    expect((await callApi()).status).toBe(502);
    expect(seen).toHaveLength(2);
  });

  test("when a body that is a stream would have to be sent again", async () => {
    redirectVia(307, "/api/next");
    const body = new Response("streamed").body;
    const { status, body: problem } = await callApi({ method: "POST", body });
    expect([status, problem.type]).toEqual([502, "urn:sluice:problem:redirect-refused"]);
    expect(seen.map((request) => request.body)).toEqual(["streamed"]);
  });
});

test.each([301, 302, 303, 307, 308])("a call that follows no redirect refuses a %d", async (status) => {
  redirectVia(status, "/api/next");
  const timeout = startSilenceTimeout(5_000, []);
  const request = { method: "GET", path: "/api/start", headers: new Headers(), body: null };
  const api = parseUpstream({ entrypoint: "ScriptedUpstream", path_prefixes: ["/api/"] });
  await expect(call(env, api, { ...request, redirect: "error" }, timeout)).rejects.toThrow("follows none");
  expect(seen).toHaveLength(1);
  redirectVia(status, "/api/next");
  expect(await call(env, api, request, timeout)).toMatchObject({ isRedirected: true });
  timeout.stop();
});

test.each([
  [300, "/api/next"],
  [302, null],
])("a %d with the location %s is passed on", async (status, location) => {
  resetUpstream(
    () => new Response("{}", { status, headers: location === null ? {} : { Location: location } }),
  );
  expect((await callApi()).status).toBe(status);
});

describe("the upstream's credentials", () => {
  const keys = () => seen.map(({ headers }) => headers.get("X-Api-Key"));

  test("go along within its origin", async () => {
    redirectVia(302, "/api/next");
    await callApi();
    expect(keys()).toEqual(["key-of-the-tests", "key-of-the-tests"]);
  });

  test("do not go to another origin, nor do the caller's own headers; impersonal headers do", async () => {
    redirectVia(302, `${ELSEWHERE}/a`, "/b");
    await callApi({ headers: { Accept: "text/x", "X-Caller-Key": "1", "x-api-key": "the caller's" } });
    expect(keys()).toEqual(["key-of-the-tests", null, null]);
    expect(seen.map(({ headers }) => headers.get("X-Caller-Key"))).toEqual(["1", null, null]);
    expect(seen.map(({ headers }) => headers.get("Accept"))).toEqual(["text/x", "text/x", "text/x"]);
  });

  test("do not come back with a redirect back", async () => {
    redirectVia(302, `${ELSEWHERE}/a`, `${ORIGIN}/api/next`);
    await callApi();
    expect(keys()).toEqual(["key-of-the-tests", null, null]);
  });
});

describe("method and body after a redirect (RFC 9110 §15.4)", () => {
  const small = (method: string) => ({
    method,
    body: "small",
    headers: { "Content-Length": "5", "Content-Type": "text/plain", "X-Custom": "1" },
  });

  test.each([
    ["POST", 301, "GET", ""],
    ["POST", 302, "GET", ""],
    ["POST", 303, "GET", ""],
    ["PUT", 303, "GET", ""],
    ["DELETE", 303, "GET", ""],
    ["PUT", 301, "PUT", "small"],
    ["PATCH", 302, "PATCH", "small"],
    ["POST", 307, "POST", "small"],
    ["POST", 308, "POST", "small"],
    ["PUT", 307, "PUT", "small"],
  ])("%s, %d: %s", async (method, code, then, body) => {
    redirectVia(code, "/api/next");
    expect((await callApi(small(method))).status).toBe(200);
    expect(seen.map((request) => [request.method, request.body])).toEqual([
      [method, "small"],
      [then, body],
    ]);
    expect(seen[1]?.headers.get("Content-Type")).toBe(body === "" ? null : "text/plain");
    expect(seen[1]?.headers.get("X-Custom")).toBe("1");
  });

  test("a stream need not be sent again after a 303", async () => {
    redirectVia(303, "/api/next");
    const { status } = await callApi({ method: "POST", body: new Response("streamed").body });
    expect([status, seen.map((request) => request.method)]).toEqual([200, ["POST", "GET"]]);
  });
});

describe("an upstream that is a service binding", () => {
  test("is called through it", async () => {
    const { response, settled } = await callWorker("/fetch/call-bound/docs/swagger-ui.css");
    expect([response.status, (await response.text()).includes("swagger-ui")]).toEqual([200, true]);
    await settled();
  });

  test("that does not exist is a 500; the log names the setting", async () => {
    const { value, lines } = await captureLogs(async () => callForJson("/fetch/call-unbound/x"));
    expect(value.status).toBe(500);
    expect(JSON.stringify(lines)).toContain("UPSTREAMS.call-unbound.service");
  });
});
