/** References in the head of a response: those to the upstream lead back through Sluice. */
import { describe, expect, test } from "vitest";
import { mapReferences } from "../../../src/outbound/client/references.ts";
import { callWorker } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { resetUpstream } from "../../support/scripted-upstream.ts";
import { parseUpstream } from "../../support/upstreams.ts";

const upstream = parseUpstream({
  origin: "https://api.example.com",
  redirect_origins: ["https://cdn.example"],
});
const FROM = new URL("https://api.example.com/v1/items?page=2");

function mapped(name: string, value: string, from = FROM): string | null {
  const headers = new Headers({ [name]: value });
  mapReferences(headers, upstream, from);
  return headers.get(name);
}

describe.each(["Location", "Content-Location"])("%s", (name) => {
  test.each([
    ["/items/5", "/fetch/api/items/5"],
    ["/items/5?x=/a#b", "/fetch/api/items/5?x=/a#b"],
    ["5", "/fetch/api/v1/5"],
    ["./5/", "/fetch/api/v1/5/"],
    ["../items", "/fetch/api/items"],
    ["?page=3", "/fetch/api/v1/items?page=3"],
    ["", "/fetch/api/v1/items?page=2"],
    ["https://api.example.com/items/5", "/fetch/api/items/5"],
    ["HTTPS://API.example.com:443/items/5", "/fetch/api/items/5"],
    ["https://api.example.com", "/fetch/api/"],
    ["//api.example.com/items/5", "/fetch/api/items/5"],
    ["/a%2Fb//c", "/fetch/api/a%2Fb//c"],
    ["/fetch/api/items", "/fetch/api/fetch/api/items"],
  ])("%s of the upstream becomes %s", (reference, expected) => {
    expect(mapped(name, reference)).toBe(expected);
  });

  test.each([
    "https://other.example/items/5",
    "//other.example/items/5",
    "http://api.example.com/items/5",
    "https://api.example.com:8443/items/5",
    "https://api.example.com.evil.example/",
    "https://user:pw@api.example.com/",
    "https://cdn.example/x",
    "mailto:a@example.com",
    "urn:uuid:1",
    "https://",
    "http://[",
  ])("%s stays as it is", (reference) => {
    expect(mapped(name, reference)).toBe(reference);
  });

  test("after a redirect to another origin, a relative one leads there", () => {
    const from = new URL("https://cdn.example/files/1");
    expect(mapped(name, "2", from)).toBe("https://cdn.example/files/2");
    expect(mapped(name, "https://api.example.com/x", from)).toBe("/fetch/api/x");
  });
});

describe("Link", () => {
  test.each([
    ['</v1/items?page=3>; rel="next"', '</fetch/api/v1/items?page=3>; rel="next"'],
    [
      '<?page=1>; rel=prev, <https://api.example.com/v1/items?page=3>; rel="next"; title="a, <b>"',
      '</fetch/api/v1/items?page=1>; rel=prev, </fetch/api/v1/items?page=3>; rel="next"; title="a, <b>"',
    ],
    ["<https://other.example/>; rel=help", "<https://other.example/>; rel=help"],
    ['<5>; rel=item; anchor="/list"', '</fetch/api/v1/5>; rel=item; anchor="/fetch/api/list"'],
    ['<5>; rel=item; anchor="#x"', '</fetch/api/v1/5>; rel=item; anchor="/fetch/api/v1/items?page=2#x"'],
    ['<5>; title="; anchor=\\"/list\\" <6>"', '</fetch/api/v1/5>; title="; anchor=\\"/list\\" <6>"'],
    ["<>; rel=self", "</fetch/api/v1/items?page=2>; rel=self"],
    ["<5", "<5"],
    ['"<5>', '"<5>'],
    ["", ""],
  ])("%s becomes %s", (value, expected) => {
    expect(mapped("Link", value)).toBe(expected);
  });

  test.each([
    ["brackets", "<".repeat(100_000)],
    ["quotes", String.raw`"\"`.repeat(30_000)],
    ["anchors", '; anchor="'.repeat(10_000)],
    ["spaces", `;${" ".repeat(100_000)}`.repeat(2)],
    ["targets", "<5>".repeat(10_000)],
  ])("is mapped in linear time, also 100 KB of %s", (_name, value) => {
    const startedAtMs = performance.now();
    mapped("Link", value);
    expect(performance.now() - startedAtMs).toBeLessThan(500);
  });
});

describe("through the front door", () => {
  keepQuiet();

  test.each([
    ["proxy-any", 201],
    ["cache-own", 200],
    ["cache-own", 200],
  ])("the response of %s leads back here, and also from the cache", async (name, status) => {
    const headers = { Location: "/items/5", Link: "<?page=2>; rel=next", "Cache-Control": "max-age=60" };
    resetUpstream(() => new Response("x", { status, headers }));
    const { response, settled } = await callWorker(`/fetch/${name}/references`);
    await response.text();
    await settled();
    expect(["Location", "Link"].map((header) => response.headers.get(header))).toEqual([
      `/fetch/${name}/items/5`,
      `</fetch/${name}/references?page=2>; rel=next`,
    ]);
  });
});
