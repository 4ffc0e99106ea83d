/** Where a call goes: always to the upstream's origin, under one of its prefixes, whatever the path tries. */
import * as fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { Problem } from "../../../src/kernel/problem.ts";
import { originOf, pathAfterUpstream, targetOf } from "../../../src/outbound/client/path.ts";
import { callForJson, callWorker } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { resetUpstream, upstream } from "../../support/scripted-upstream.ts";
import { parseUpstream } from "../../support/upstreams.ts";

const ORIGIN = "https://api.example.com:8443";
const open = parseUpstream({ origin: ORIGIN });
const PREFIXES = ["/v1/", "/open/data/"];
const narrow = parseUpstream({ origin: ORIGIN, path_prefixes: PREFIXES });
const slashes = parseUpstream({ origin: ORIGIN, path_prefixes: PREFIXES, encoded_slashes: true });
const anySlashes = parseUpstream({ origin: ORIGIN, encoded_slashes: true });

/** The URL, or the kind of the problem. */
function outcome(to: typeof open, path: string): string {
  try {
    return targetOf(to, path).href;
  } catch (error) {
    if (error instanceof Problem) return error.kind;
    throw error;
  }
}

describe("a path that every server reads alike is called as it is:", () => {
  test.each([
    "/",
    "/todos/1",
    "/todos/",
    "/.well-known/security.txt",
    "/a..b/...",
    "/file.tar.gz",
    "/@evil.example/",
    "/user:password@evil.example/",
    "/:9000/",
    "/127.0.0.1/[::1]",
    "/https:/evil.example",
    "/a;b=c,d",
    "/a%20b",
    "/%C3%A9t%c3%a9",
    "/100%25",
    "/~tilde/!$&'()*+,;=:@-._",
  ])("%s", (path) => {
    expect(outcome(open, path)).toBe(ORIGIN + path);
  });
});

describe("a path that another server could read differently is malformed:", () => {
  test.each([
    ["an empty path", ""],
    ["no slash to begin with", "todos"],
    ["userinfo", "@evil.example/"],
    ["a port", ":9000/"],
    ["the rest of a host name", ".evil.example/"],
    ["another origin", "https://evil.example/"],
    ["two slashes to begin with", "//evil.example/"],
    ["two slashes", "/a//b"],
    ["two slashes at the end", "/a//"],
    ["a backslash to begin with", "/\\evil.example/"],
    ["a backslash", "/a\\..\\b"],
    ["a dot segment", "/./a"],
    ["a dot segment at the end", "/a/."],
    ["two dots", "/a/../b"],
    ["two dots to begin with", "/.."],
    ["two dots at the end", "/a/.."],
    ["encoded dots", "/a/%2e%2e/b"],
    ["encoded dots in capitals", "/a/%2E%2E/b"],
    ["half-encoded dots", "/a/.%2e/b"],
    ["an encoded dot segment", "/a/%2e"],
    ["dots encoded twice", "/a/%252e%252e/b"],
    ["dots encoded three times", "/a/%25252e%25252e/b"],
    ["dots encoded twice, beside an encoded percent sign", "/a/%252e%252e/b%25"],
    ["dots encoded twice, beside bytes that are not UTF-8 when decoded twice", "/a/%252e%252e/b%25ff"],
    ["dots with a path parameter, which some servers remove first", "/a/..;/b"],
    ["dots with a path parameter, encoded", "/a/%2e%2e%3bx=y/b"],
    ["an encoded slash", "/a%2fb"],
    ["an encoded slash in capitals", "/a%2Fb"],
    ["a slash encoded twice", "/a%252fb"],
    ["a slash encoded twice, beside an encoded percent sign", "/a%252fb%25"],
    ["an encoded backslash", "/a%5cb"],
    ["a backslash encoded twice", "/a%255Cb"],
    ["dots and an encoded slash", "/..%2fb"],
    ["a NUL", "/a\0"],
    ["an encoded NUL", "/a%00"],
    ["an encoded line break", "/a%0d%0aHost:%20evil.example"],
    ["a line break encoded twice", "/a%250a"],
    ["an encoded DEL", "/a%7f"],
    ["a tab", "/a\tb"],
    ["a space", "/a b"],
    ["a non-ASCII letter", "/é"],
    ["full-width dots", "/．．/b"],
    ["full-width dots, encoded", "/a/%EF%BC%8E%EF%BC%8E/b"],
    ["a two-dot leader, encoded", "/a/%E2%80%A5/b"],
    ["a full-width slash, encoded", "/a%EF%BC%8Fb"],
    ["dots behind a full-width percent sign", "/a/%EF%BC%85%32%65%EF%BC%85%32%65/b"],
    ["dots before an encoded question mark", "/a/..%3Fb"],
    ["dots before an encoded hash", "/a/..%23b"],
    ["dots and a space", "/a/..%20/b"],
    ["a space and dots", "/a/%20../b"],
    ["a fragment", "/a#b"],
    ["a bare percent sign", "/100%"],
    ["a percent sign with one digit", "/a%2"],
    ["a percent sign with no digits", "/a%zz"],
    ["bytes that are not UTF-8", "/%ff"],
    ["dots in overlong UTF-8", "/%c0%ae%c0%ae/b"],
  ])("%s", (_name, path) => {
    expect(outcome(open, path)).toBe("malformed");
  });
});

describe("with prefixes", () => {
  test.each(["/v1/", "/v1", "/v1/todos", "/v1/..a", "/open/data/1", "/open/data"])(
    "%s is allowed",
    (path) => {
      expect(outcome(narrow, path)).toBe(ORIGIN + path);
    },
  );

  test.each([
    ["/", "forbidden"],
    ["/v2/", "forbidden"],
    ["/v1x", "forbidden"],
    ["/v1;x=/", "forbidden"],
    ["/v1.json", "forbidden"],
    ["/V1/todos", "forbidden"],
    ["/%76%31/todos", "forbidden"],
    ["/v1%20/todos", "forbidden"],
    ["/open/", "forbidden"],
    ["/open/database", "forbidden"],
    ["/x/v1/", "forbidden"],
    ["/v1/../admin", "malformed"],
    ["/v1/%2e%2e/admin", "malformed"],
    ["/v1/..%2fadmin", "malformed"],
    ["/v1/..%5cadmin", "malformed"],
    ["/v1%2f..%2fadmin", "malformed"],
    ["//v1/", "malformed"],
  ])("%s is %s", (path, kind) => {
    expect(outcome(narrow, path)).toBe(kind);
  });

  test("the query is not part of the path", () => {
    expect(outcome(narrow, "/?/v1/")).toBe("forbidden");
    expect(outcome(narrow, "/v1?/../")).toBe(`${ORIGIN}/v1?/../`);
  });
});

describe("with encoded_slashes", () => {
  test.each([
    "/v1/a%2Fb",
    "/v1/a%2fb%2F",
    "/v1/%2F",
    "/v1/a%252Fb",
    "/v1//a",
    "/v1///",
    "/v1/https://example.com/x",
    "/v1/https%3A%2F%2Fexample.com%2Fx",
    "/v1/@scope%2Fname",
    "/v1/a;b%2Fc",
    "/v1/a%2F...",
    "/open/data//1",
  ])("%s is called as it is", (path) => {
    expect(outcome(slashes, path)).toBe(ORIGIN + path);
    expect(outcome(anySlashes, path)).toBe(ORIGIN + path);
    expect(outcome(narrow, path)).toBe("malformed");
  });

  test.each([
    ["/v1/a%2F..%2Fb", "malformed"],
    ["/v1/..%2F..%2Fadmin", "malformed"],
    ["/v1/a/..//..//admin", "malformed"],
    ["/v1/a%2F.%2Fb", "malformed"],
    ["/v1/%2e%2e%2fadmin", "malformed"],
    ["/v1/%252e%252e%252fadmin", "malformed"],
    ["/v1/..;%2Fadmin", "malformed"],
    ["/v1/..%3B/admin", "malformed"],
    ["/v1/a;x=%2F..%2F..%2Fadmin", "malformed"],
    ["/v1/..%3F%2Fadmin", "malformed"],
    ["/v1/%EF%BC%8E%EF%BC%8E%EF%BC%8Fadmin", "malformed"],
    ["/v1/a%5Cb", "malformed"],
    ["/v1/a%5C..%5C..%5Cadmin", "malformed"],
    ["/v1/a%00%2Fb", "malformed"],
    ["/v1/a%2F%0d%0aHost:%20evil", "malformed"],
    ["//v1/a", "forbidden"],
    ["/%2Fv1/a", "forbidden"],
    ["/v1%2Fa", "forbidden"],
    ["/%2Fevil.example/v1/", "forbidden"],
    ["//evil.example/v1/", "forbidden"],
    ["/v2//v1/", "forbidden"],
    ["/open//data/1", "forbidden"],
    ["/open%2Fdata/1", "forbidden"],
  ])("%s is %s: prefixes still hold", (path, kind) => {
    expect(outcome(slashes, path)).toBe(kind);
  });

  test.each(["//evil.example/x", "//user@evil.example:80/", "/%2F%2Fevil.example"])(
    "%s does not leave the origin",
    (path) => {
      expect(outcome(anySlashes, path)).toBe(ORIGIN + path);
    },
  );
});

test.each([
  ["http://localhost/fetch/demo/a/b?x=1", "/a/b?x=1"],
  ["http://localhost:8787/fetch/demo/a/../b", "/a/../b"],
  ["http://localhost/fetch/demo/%2e%2e/x", "/%2e%2e/x"],
  ["http://localhost/fetch/%64emo//a", "//a"],
  ["http://localhost/%66etch/demo/a", "/a"],
  ["https://example.com/fetch/demo/fetch/demo/x", "/fetch/demo/x"],
  ["http://localhost/fetch/demo/", "/"],
  ["http://localhost/fetch/demo/a/", "/a/"],
  ["http://localhost/fetch/demo", "/"],
  ["http://localhost/fetch/demo?x", "/?x"],
])("of %s, %s is the path at the upstream: nothing is resolved before it is checked", (url, expected) => {
  expect(pathAfterUpstream(url)).toBe(expected);
});

test("the query is kept as it is, whatever is in it", () => {
  const query = "?a=../..&b=//x&c=%2e%2e%2f&d=%zz&e=a+b%20c&f=\\&g=?&h=é&empty=&a=again";
  // The one change that URLs require.
  expect(outcome(open, `/a${query}`)).toBe(`${ORIGIN}/a${query.replace("é", "%C3%A9")}`);
});

describe("for any string", () => {
  const bit = fc.constantFrom(
    ..."/ // .. . ; \\ @ : ? # % %2e %2f %5c %25 %00 %252e %252f %3f %3b %20 %ef%bc%8e %ef%bc%8f a v1 /v1/ open/data evil.example http:// 127.0.0.1 é".split(
      " ",
    ),
    "\n",
  );
  const path = fc.oneof(
    fc.array(bit, { maxLength: 12 }).map((bits) => bits.join("")),
    fc.array(bit, { maxLength: 8 }).map((bits) => `/v1/${bits.join("")}`),
    fc.string({ unit: "binary" }),
    fc.webPath(),
  );

  test.each([
    ["", narrow],
    [" with encoded_slashes", slashes],
  ])("the target is on the exact origin and under a prefix, or a Problem is thrown%s", (_name, to) => {
    let accepted = 0;
    fc.assert(
      fc.property(path, (written) => {
        const href = outcome(to, written);
        if (href === "malformed" || href === "forbidden") return;
        accepted++;
        const url = new URL(href);
        expect([url.origin, url.username, url.password]).toEqual([ORIGIN, "", ""]);
        expect(PREFIXES.some((prefix) => `${url.pathname}/`.startsWith(prefix))).toBe(true);
        expect(url.pathname).toBe(written.split("?")[0]);
      }),
      { numRuns: 3_000 },
    );
    expect(accepted).toBeGreaterThan(100);
  });

  const LENIENT = "a server that decodes it as often as possible, and removes parameters";
  test.each([
    ["", narrow],
    [", and merges slashes, with encoded_slashes,", slashes],
  ])(`${LENIENT}%s still finds it under a prefix`, (_name, to) => {
    fc.assert(
      fc.property(path, (written) => {
        const href = outcome(to, written);
        if (href === "malformed" || href === "forbidden") return;
        for (const text of asLenientServers(new URL(href).pathname)) {
          const read = new URL(`x:${text}`).pathname;
          expect(PREFIXES.some((prefix) => `${read}/`.startsWith(prefix))).toBe(true);
        }
      }),
      { numRuns: 3_000 },
    );
  });

  /** Decode until nothing is left to decode, remove `;parameters`, end segments at `?` and `#`; some merge slashes. */
  function asLenientServers(text: string): string[] {
    const ascii = text.replaceAll(/%([0-7][0-9a-f])/gi, (_all, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    );
    if (ascii !== text) return asLenientServers(ascii);
    const decoded = decodeWhole(text).normalize("NFKC");
    if (decoded !== text) return asLenientServers(decoded);
    const read = decoded.replaceAll("\\", "/").replaceAll(/[;?#][^/]*/g, "");
    return [read, read.replaceAll(/\/+/g, "/")];
  }

  function decodeWhole(text: string): string {
    try {
      return decodeURIComponent(text);
    } catch {
      return text;
    }
  }
});

test("a bound or embedded upstream sees its calls under a made-up origin", () => {
  const bound = parseUpstream({ entrypoint: "DemoUpstream" });
  expect(originOf(bound)).toBe("http://upstream.internal");
  expect(outcome(bound, "/todos/1?x")).toBe("http://upstream.internal/todos/1?x");
});

describe("through the front door", () => {
  keepQuiet();
  beforeEach(() => resetUpstream((request) => Response.json({ url: request.url })));

  test("path and query arrive as they were sent", async () => {
    const { body } = await callForJson("/fetch/path-open/a%20b/@x;y?q=%2e%2e&q=//&z");
    expect(body.url).toBe("http://upstream.internal/a%20b/@x;y?q=%2e%2e&q=//&z");
  });

  test("with encoded_slashes, slashes arrive as they were sent", async () => {
    const { body } = await callForJson("/fetch/path-encoded/v1/a%2Fb//c%2f?d=%2F");
    expect(body.url).toBe("http://upstream.internal/v1/a%2Fb//c%2f?d=%2F");
  });

  test("without a path it is the upstream's root", async () => {
    for (const path of ["/fetch/path-open/", "/fetch/path-open"]) {
      const { body } = await callForJson(path);
      expect(body.url).toBe("http://upstream.internal/");
    }
  });

  test.each([
    ["/fetch/path-open/..%2fx", 400],
    ["/fetch/path-open//evil.example/", 400],
    ["/fetch/path-open/a%5cb", 400],
    ["/fetch/path-open/%252e%252e/", 400],
    ["/fetch/path-narrow/v2/x", 403],
    ["/fetch/path-narrow/v1/../v2", 403],
    ["/fetch/path-narrow/v1/x", 200],
    ["/fetch/path-narrow/v1/a%2Fb", 400],
    ["/fetch/path-narrow/v1//b", 400],
    ["/fetch/path-encoded/v1/a%2Fb//c", 200],
    ["/fetch/path-encoded/v1%2Fx", 403],
    ["/fetch/path-encoded/v1/a%2F..%2F..%2Fx", 400],
  ])("%s is a %d, and a refused call does not reach the upstream", async (path, status) => {
    const { response, settled } = await callWorker(path);
    await response.body?.cancel();
    await settled();
    expect(response.status).toBe(status);
    expect(upstream.order).toHaveLength(status === 200 ? 1 : 0);
  });

  test("dots in the URL cannot reach another upstream", async () => {
    const { status } = await callForJson("/fetch/path-narrow/%2e%2e/path-open/x");
    expect(status).toBe(200); // by the rules of URLs, the client requested /fetch/path-open/x
    expect((await callForJson("/fetch/path-narrow/%2e%2e%2fpath-open/x")).status).toBe(400);
  });
});
