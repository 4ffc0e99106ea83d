/** How much one request may bring is the plan's limit, in every protocol, with and without a Content-Length. */
import { reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { sha256 } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { fileOf, patchTus, pathOf, send, TUS, TUS_TYPE, withoutLength } from "../../support/uploads.ts";

const variables = { MAX_REQUEST_BYTES: 5 };

keepQuiet();
beforeEach(() => reset());

const bodies: [string, (text: string) => BodyInit][] = [
  ["a Content-Length", (text) => text],
  ["no Content-Length", (text) => withoutLength(text)],
];

describe.each(bodies)("with %s,", (_name, body) => {
  test("tus: more is a 413, as much is not, and the rest may come in another request", async () => {
    const created = await send("POST", "/uploads", { headers: { ...TUS, "Upload-Length": 7 } });
    const path = pathOf(created);
    const tooMuch = await patchTus(path, 0, body("hello w"), { variables });
    expect([tooMuch.status, tooMuch.headers.get("Upload-Offset")]).toEqual([413, "0"]);
    expect(tooMuch.body?.detail).toContain("chunkSize");
    expect((await patchTus(path, 0, body("hello"), { variables })).status).toBe(204);
    expect((await patchTus(path, 5, body(" w"), { variables })).status).toBe(204);
    expect((await fileOf(path)).sha256).toBe(sha256("hello w"));
  });

  test("tus: more in the creation is a 413", async () => {
    const headers = { ...TUS, ...TUS_TYPE, "Upload-Length": 7 };
    expect((await send("POST", "/uploads", { headers, body: body("hello w"), variables })).status).toBe(413);
  });

  test.each([3, 5, 6, 8, 10])("the draft, version %i: more is a 413, and says the limit", async (version) => {
    const headers = {
      "Upload-Draft-Interop-Version": version,
      ...(version === 3 ? { "Upload-Incomplete": "?0" } : { "Upload-Complete": "?1" }),
    };
    const response = await send("POST", "/uploads", { headers, body: body("hello w"), variables });
    expect(response.status).toBe(413);
    if (version >= 6) expect(response.headers.get("Upload-Limit")).toContain("max-append-size=5");
    expect((await send("POST", "/uploads", { headers, body: body("hello"), variables })).status).toBe(201);
  });
});

test("OPTIONS says the limit", async () => {
  const { headers } = await send("OPTIONS", "/uploads", { variables });
  expect(headers.get("Upload-Limit")).toBe("max-size=50000000000, max-append-size=5");
});
