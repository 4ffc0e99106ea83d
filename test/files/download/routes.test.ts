/** Removing, expiring and sharing files, over HTTP. */
import { reset } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { callForJson } from "../../support/call.ts";
import { ETAG, fetchText, putFile, withEtag } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { NOTHING, objectKeys, whatIsLeftOf } from "../../support/stored.ts";

const remove = (id: string, headers: Record<string, string> = {}) =>
  fetchText(`/files/${id}`, { method: "DELETE", headers });
const read = (id: string) => fetchText(`/files/${id}`);

keepQuiet();
beforeEach(() => reset());
afterEach(() => {
  vi.useRealTimers();
});

/** Sets the clock that many seconds later. */
const later = (seconds: number) => vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + seconds * 1000 });

describe("DELETE", () => {
  test("removes a file at once, and its bytes soon after", async () => {
    await putFile("removed", "one");
    expect((await whatIsLeftOf("removed")).objects).toHaveLength(1);
    const { status, text } = await remove("removed");
    expect([status, text]).toEqual([204, ""]);
    expect([(await read("removed")).status, (await remove("removed")).status]).toEqual([404, 404]);
    expect(await whatIsLeftOf("removed")).toEqual(NOTHING);
  });

  test.each<[string, Record<string, string>, number]>([
    ["If-Match with its ETag", { "If-Match": ETAG }, 204],
    ["If-Match: *", { "If-Match": "*" }, 204],
    ["If-Match with another", { "If-Match": '"x"' }, 412],
    ["If-Match with its ETag, weak", { "If-Match": `W/${ETAG}` }, 412],
    ["If-None-Match: *", { "If-None-Match": "*" }, 412],
    ["If-Unmodified-Since long ago", { "If-Unmodified-Since": "Sun, 06 Nov 1994 08:49:37 GMT" }, 412],
  ])("under the precondition %s", async (_name, headers, status) => {
    const before = await putFile("a", "one");
    expect((await remove("a", withEtag(headers, before))).status).toBe(status);
    expect((await read("a")).status).toBe(status === 204 ? 404 : 200);
  });

  test("with an invalid id is rejected", async () => {
    expect((await remove(".a")).status).toBe(422);
  });
});

describe("a file that has expired", () => {
  const OF_THESE = ["expiring", "lasting"];

  beforeEach(async () => {
    await callForJson("/files/expiring?expires_in=60", { method: "PUT", body: "one" });
    await putFile("lasting", "two");
  });

  test("exists until then", async () => {
    later(59);
    expect((await read("expiring")).status).toBe(200);
  });

  test("is gone at once for every reader; the alarm collects its bytes", async () => {
    later(60);
    expect([(await read("expiring")).status, (await remove("expiring")).status]).toEqual([404, 404]);
    expect((await fetchText("/files/expiring/links", LINK_REQUEST)).status).toBe(404);
    const { files } = (await callForJson("/files")).body as { files: { id: string }[] };
    expect(files.flatMap(({ id }) => (OF_THESE.includes(id) ? [id] : []))).toEqual(["lasting"]);
    expect((await objectKeys()).filter((key) => key.startsWith("files/expiring/"))).toHaveLength(1);
    expect(await whatIsLeftOf(...OF_THESE)).toMatchObject({
      files: ["lasting"],
      objects: [expect.any(String)],
      strays: [],
    });
  });

  test("frees its id for a new file, which stays", async () => {
    later(60);
    const next = await putFile("expiring", "three", { headers: { "If-None-Match": "*" } });
    expect([next.status, next.body.expiresAt]).toEqual([201, null]);
    expect((await whatIsLeftOf(...OF_THESE)).objects).toHaveLength(2);
    expect((await read("expiring")).text).toBe("three");
  });

  test("shows beforehand when it expires", async () => {
    const { body } = await callForJson("/files/c?expires_in=60", { method: "PUT", body: "x" });
    const lifeMs = Date.parse(String(body.expiresAt)) - Date.parse(String(body.modifiedAt));
    expect(lifeMs).toBeGreaterThan(58_000);
    expect(lifeMs).toBeLessThanOrEqual(60_000);
  });
});

const KEYS = {
  old: "old-key-of-the-links-0123456789-0123456789",
  new: "new-key-of-the-links-0123456789-0123456789",
};
const LINK_REQUEST = {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ expires_in: 60 }),
  variables: { LINK_KEYS: KEYS.old },
};
/** A remote caller without a token. */
const STRANGER = { site: "https://sluice.example.com", variables: { ACCESS: "tokens", LINK_KEYS: KEYS.old } };

/** The path of a new link. */
async function share(id: string, variables: object = {}): Promise<string> {
  const request = { ...LINK_REQUEST, variables: { ...LINK_REQUEST.variables, ...variables } };
  const { status, body } = await callForJson(`/files/${id}/links`, request);
  expect(status).toBe(201);
  return new URL(String(body.url)).pathname;
}

const follow = async (path: string, options: object = {}) => fetchText(path, { ...STRANGER, ...options });

const BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

describe("a link", () => {
  beforeEach(async () => {
    await putFile("a", "0123456789", { headers: { "Content-Type": "text/plain" } });
    await putFile("b", "two");
  });

  test("is a URL of the file that contains its expiry", async () => {
    const { status, headers, body } = await callForJson("/files/a/links", LINK_REQUEST);
    expect([status, headers.get("Location")]).toEqual([201, body.url]);
    expect(body.url).toMatch(/^http:\/\/localhost\/files\/a\/links\/\d{10}\.[\w-]{43}$/);
    const lifeMs = Date.parse(String(body.expiresAt)) - Date.now();
    expect(lifeMs).toBeGreaterThan(55_000);
    expect(lifeMs).toBeLessThanOrEqual(60_000);
  });

  test("lets a stranger read this file, whole, in part, its headers, or get a 304; and nothing else", async () => {
    const path = await share("a");
    const whole = await follow(path);
    expect([whole.status, whole.text]).toEqual([200, "0123456789"]);
    expect(whole.headers.get("Content-Security-Policy")).toBe("default-src 'none'; sandbox");
    const part = await follow(path, { headers: { Range: "bytes=-3" } });
    expect([part.status, part.text, part.headers.get("Content-Range")]).toEqual([206, "789", "bytes 7-9/10"]);
    const head = await follow(path, { method: "HEAD" });
    expect([head.status, head.text, head.headers.get("Content-Length")]).toEqual([200, "", "10"]);
    const again = await follow(path, { headers: withEtag({ "If-None-Match": ETAG }, whole) });
    expect(again.status).toBe(304);
    const shown = await follow(`${path}?disposition=inline`);
    expect(shown.headers.get("Content-Disposition")).toMatch(/^inline/);

    expect((await follow("/files/a")).status).toBe(401);
    expect((await follow(path.replace("/files/a/", "/files/b/"))).status).toBe(403);
    for (const method of ["PUT", "POST", "PATCH", "DELETE"])
      expect([method, (await follow(path, { method })).status]).toEqual([method, 401]);
    expect((await follow(path)).status).toBe(200);
  });

  test.each<[string, (path: string) => string]>([
    [
      "its signature changed",
      (path) =>
        path
          .replace(/.$/, (last) => (last === "A" ? "B" : "A"))
          .replace(/\.(.)/, ".-$1")
          .slice(0, path.length),
    ],
    // The last character has two bits that no byte needs: four spellings mean the same bytes.
    [
      "another spelling of its signature",
      (path) => path.replace(/.$/, (last) => BASE64URL.charAt(BASE64URL.indexOf(last) ^ 1)),
    ],
    ["a leading zero", (path) => path.replace("links/", "links/0")],
    ["an escaped character", (path) => path.replace("links/1", "links/%31").replace(/(.)$/, "%2B")],
    ["a changed time", (path) => path.replace(/links\/(\d+)/, (_, time) => `links/${Number(time) + 1}`)],
    ["no signature", (path) => path.replace(/\..*$/, ".")],
    ["an invented token", (path) => path.replace(/links\/.*$/, "links/x")],
  ])("with %s is rejected", async (_name, tamper) => {
    const path = await share("a");
    const tampered = tamper(path);
    expect(tampered).not.toBe(path);
    const { status, text } = await follow(tampered);
    expect([status, JSON.parse(text).type]).toEqual([403, "urn:sluice:problem:forbidden"]);
  });

  test("ends when it expires or when its file is removed; it shows a new version of the file", async () => {
    const path = await share("a");
    await putFile("a", "replaced");
    expect((await follow(path)).text).toBe("replaced");
    await remove("b");
    expect((await follow(path)).status).toBe(200);
    await remove("a");
    expect((await follow(path)).status).toBe(404);
    await putFile("a", "new");
    later(61);
    expect((await follow(path)).status).toBe(403);
  });

  test("stays valid as long as its key is kept behind the new one", async () => {
    const path = await share("a");
    const withKeys = async (shown: string, LINK_KEYS: string) =>
      (await follow(shown, { variables: { ...STRANGER.variables, LINK_KEYS } })).status;
    const both = `${KEYS.new} ${KEYS.old}`;
    const newer = await share("a", { LINK_KEYS: both });
    expect([await withKeys(path, both), await withKeys(path, KEYS.new)]).toEqual([200, 403]);
    expect([await withKeys(newer, KEYS.new), await withKeys(newer, KEYS.old)]).toEqual([200, 403]);
  });

  test("cannot be created without a key (503), and without a key no link is valid", async () => {
    const token = "0123456789-0123456789-0123456789";
    const { status, body } = await callForJson("/files/a/links", {
      ...LINK_REQUEST,
      headers: { ...LINK_REQUEST.headers, Authorization: `Bearer ${token}` },
      variables: {
        ACCESS: "tokens",
        SLUICE_TOKENS: JSON.stringify([{ name: "sharer", scopes: ["write", "read"], token }]),
        LINK_KEYS: "",
      },
    });
    expect([status, body.type, body.detail]).toEqual([
      503,
      "urn:sluice:problem:no-link-key",
      expect.stringContaining("LINK_KEYS"),
    ]);
    const path = await share("a");
    expect((await follow(path, { variables: { ACCESS: "tokens", LINK_KEYS: "" } })).status).toBe(403);
  });

  test.each<[string, unknown, number]>([
    ["/files/a/links", { expires_in: 1 }, 201],
    ["/files/a/links", { expires_in: 604_800 }, 201],
    ["/files/a/links", { expires_in: 604_801 }, 422],
    ["/files/a/links", { expires_in: 0 }, 422],
    ["/files/a/links", { expires_in: 1.5 }, 422],
    ["/files/a/links", { expires_in: "60" }, 422],
    ["/files/a/links", { expires_in: 60, more: 1 }, 422],
    ["/files/a/links", {}, 422],
    ["/files/none/links", { expires_in: 60 }, 404],
    ["/files/.a/links", { expires_in: 60 }, 422],
  ])("%s %o: %i", async (path, request, status) => {
    expect((await callForJson(path, { ...LINK_REQUEST, body: JSON.stringify(request) })).status).toBe(status);
  });

  test("must be requested in JSON", async () => {
    const request = async (body: string | null, type: string) =>
      (await callForJson("/files/a/links", { ...LINK_REQUEST, body, headers: { "Content-Type": type } }))
        .status;
    expect([await request("{", "application/json"), await request("expires_in=60", "text/plain")]).toEqual([
      400, 415,
    ]);
  });
});
