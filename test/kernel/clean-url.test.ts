import { expect, test } from "vitest";
import { cleanText, cleanUrl } from "../../src/kernel/clean-url.ts";

test.each([
  ["https://app.example.com/hook", "https://app.example.com/hook"],
  ["https://app.example.com/hook?key=secret", "https://app.example.com/hook"],
  ["https://user:secret@app.example.com:8443/hook?key=secret#secret", "https://app.example.com:8443/hook"],
  ["https://app.example.com", "https://app.example.com/"],
])("the URL %s is shown as %s", (url, shown) => {
  expect(cleanUrl(url)).toBe(shown);
});

test.each([
  ["nothing to hide: a/b?c=d", "nothing to hide: a/b?c=d"],
  [
    "could not load https://api.example.com/v1?key=secret&x=1: 500",
    "could not load https://api.example.com/v1?… 500",
  ],
  [
    "https://a.example/?secret, then http://b.example/#secret",
    "https://a.example/?… then http://b.example/?…",
  ],
  ["https://user:secret@a.example/b@c", "https://a.example/b@c"],
  ["https://secret@", "https://"],
  ["https://user:sec@ret@a.example/", "https://a.example/"],
  ["at=redis://:secret@cache:6379/0", "at=redis://cache:6379/0"],
  ["https://a.example/to/https://user:secret@b.example/c@d", "https://a.example/to/https://b.example/c@d"],
  ["https://a.example/,https://user:secret@b.example/?secret", "https://a.example/,https://b.example/?…"],
  ["https://a.example/x?to=https://b.example/?secret", "https://a.example/x?…"],
  ['{"url":"https://a.example/?secret","b":1}', '{"url":"https://a.example/?…","b":1}'],
  ['"at https://a.example/?secret\\nnext"', '"at https://a.example/?…\\nnext"'],
  ["/files/a/links/1800000000.c2lnbmF0dXJl", "/files/a/links/…"],
  [
    "GET http://localhost/files/a/links/1800000000.c2ln?disposition=inline",
    "GET http://localhost/files/a/links/…?…",
  ],
  ["/files/a/links", "/files/a/links"],
])("%s is logged as %s", (text, logged) => {
  expect(cleanText(text)).toBe(logged);
});

test("what is left is JSON, if it was", () => {
  for (const url of ["https://a.example/?x", 'https://a.example/?x="y"', "https://a.example/?x\\y\n"]) {
    const line = { url, path: "/files/a/links/1.b", other: ["c", 1] };
    expect(JSON.parse(cleanText(JSON.stringify(line)))).toMatchObject({
      path: "/files/a/links/…",
      other: ["c", 1],
    });
  }
});
