/** Files over real HTTP, with the requests of a browser. */
import { basename } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { type Server, SITE, sharedServer } from "../support/node/built-worker.ts";
import { expectFile } from "../support/node/tus-client.ts";

let server: Server;

beforeAll(async () => {
  server = await sharedServer();
});

describe("a page in a browser", () => {
  const preflight = (origin: string, path: string, method: string, headers: string) =>
    fetch(server.url + path, {
      method: "OPTIONS",
      headers: {
        Origin: origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
      },
    });
  const TUS = "content-type,tus-resumable,upload-length,upload-metadata,upload-offset";

  test.each([
    ["/uploads", "POST", TUS],
    ["/uploads/any", "PATCH", `${TUS},upload-complete,upload-draft-interop-version`],
    ["/uploads/any", "DELETE", "tus-resumable,authorization"],
    ["/files/any", "PUT", "content-digest"],
  ])("of a configured site may request: %s, %s", async (path, method, headers) => {
    const response = await preflight(SITE, path, method, headers);
    expect(response.status).toBe(204);
    expect(response.headers.get("Access-Control-Allow-Origin")).toBe(SITE);
    expect(response.headers.get("Access-Control-Allow-Methods")?.split(/, ?/)).toContain(method);
    const allowed = response.headers.get("Access-Control-Allow-Headers")?.toLowerCase().split(/, ?/);
    expect(allowed).toEqual(expect.arrayContaining(headers.split(",")));
  });

  test("of any other site may not", async () => {
    const response = await preflight("https://evil.example.com", "/uploads", "POST", TUS);
    expect(response.headers.get("Access-Control-Allow-Origin")).toBeNull();
  });

  test("sends a form in which no file was chosen: that is not a file", async () => {
    const form = new FormData();
    form.set("photo", new File([], ""));
    form.set("note", "no photo");
    const response = await fetch(`${server.url}/files`, { method: "POST", body: form });
    expect([response.status, await response.json()]).toEqual([
      201,
      { files: [], fields: [{ name: "note", value: "no photo" }] },
    ]);
  });

  test("of a configured site uploads, and can read the URL", async () => {
    const headers = { Origin: SITE, "Tus-Resumable": "1.0.0", "Sec-Fetch-Site": "cross-site" };
    const created = await fetch(`${server.url}/uploads`, {
      method: "POST",
      headers: { ...headers, "Upload-Length": "5", "Content-Type": "application/offset+octet-stream" },
      body: "hello",
    });
    expect([created.status, created.headers.get("Access-Control-Allow-Origin")]).toEqual([201, SITE]);
    const readable = created.headers.get("Access-Control-Expose-Headers")?.split(/, ?/);
    expect(readable).toEqual(expect.arrayContaining(["Location", "Upload-Offset", "Tus-Resumable"]));
    await expectFile(server.url, basename(String(created.headers.get("Location"))), Buffer.from("hello"));
  });
});
