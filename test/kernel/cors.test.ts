import { describe, expect, test } from "vitest";
import { callWorker } from "../support/call.ts";

describe("a page of another site", () => {
  const Origin = "https://app.example.com";
  const variables = { CORS_ORIGINS: [Origin, "https://other.example.com"] };
  const preflight = { Origin, "Access-Control-Request-Method": "PATCH" };

  /** The CORS headers of a response. */
  const cors = ({ headers }: Response) =>
    Object.fromEntries([...headers].filter(([name]) => name.startsWith("access-control-")));

  test("that CORS_ORIGINS names may send a preflight, without a token", async () => {
    const { response } = await callWorker("/uploads/x", {
      method: "OPTIONS",
      site: "https://sluice.example.com",
      variables: { ...variables, ACCESS: "tokens" },
      headers: { ...preflight, "Access-Control-Request-Headers": "authorization,upload-offset" },
    });
    expect([response.status, cors(response), response.headers.has("Tus-Version")]).toEqual([
      204,
      {
        "access-control-allow-origin": Origin,
        "access-control-allow-methods": "GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS",
        "access-control-allow-headers": "authorization,upload-offset",
        "access-control-max-age": "7200",
      },
      false,
    ]);
    expect(response.headers.get("Vary")).toContain("Origin");
  });

  test.each([
    ["/files", 200],
    ["/files/none", 404],
    ["/files?limit=0", 422],
    ["/nowhere", 404],
    ["/healthz", 200],
  ])("that CORS_ORIGINS names can read the response of %s, whatever its status", async (path, status) => {
    const { response } = await callWorker(path, { variables, headers: { Origin } });
    expect([response.status, response.headers.get("Access-Control-Allow-Origin")]).toEqual([status, Origin]);
    expect(response.headers.get("Vary")).toContain("Origin");
    const exposed = response.headers.get("Access-Control-Expose-Headers")?.split(",") ?? [];
    for (const name of [
      "Location",
      "ETag",
      "Upload-Offset",
      "Tus-Resumable",
      "X-Request-Id",
      "Content-Range",
    ])
      expect(exposed).toContain(name);
  });

  test.each([
    ["OPTIONS", "/uploads", "Accept-Patch"],
    ["OPTIONS", "/uploads", "Allow"],
    ["PUT", "/hello", "Allow"],
    ["POST", "/upload-file", "Accept-Post"],
    ["GET", "/fetch/demo/todos/1", "Server-Timing"],
  ])("that CORS_ORIGINS names can read, from %s %s, the header %s", async (method, path, name) => {
    const { response, settled } = await callWorker(path, { method, variables, headers: { Origin } });
    await response.text();
    await settled();
    expect(response.headers.has(name)).toBe(true);
    expect(response.headers.get("Access-Control-Expose-Headers")?.split(",")).toContain(name);
  });

  test("that CORS_ORIGINS names can also read that it needs a token", async () => {
    const { response } = await callWorker("/files", {
      site: "https://sluice.example.com",
      variables: { ...variables, ACCESS: "tokens" },
      headers: { Origin },
    });
    expect([response.status, response.headers.get("Access-Control-Allow-Origin")]).toEqual([401, Origin]);
  });

  test("gets the route's own response to an OPTIONS that is not a preflight", async () => {
    const { response } = await callWorker("/uploads", { method: "OPTIONS", variables, headers: { Origin } });
    expect([response.status, response.headers.get("Tus-Version"), cors(response)]).toEqual([
      200,
      "1.0.0",
      {
        "access-control-allow-origin": Origin,
        "access-control-expose-headers": expect.stringContaining("Tus-Version"),
      },
    ]);
  });

  test.each([
    ["has another origin", "https://app.example.com.evil.example"],
    ["has no origin", "null"],
  ])("that %s gets no CORS header", async (_name, other) => {
    const preflighted = await callWorker("/files", {
      method: "OPTIONS",
      variables,
      headers: { ...preflight, Origin: other },
    });
    const got = await callWorker("/files", { variables, headers: { Origin: other } });
    expect([cors(preflighted.response), cors(got.response)]).toEqual([{}, {}]);
  });

  test("gets no CORS header where CORS_ORIGINS is empty", async () => {
    const { response } = await callWorker("/files", { method: "OPTIONS", headers: preflight });
    expect(cors(response)).toEqual({});
  });
});
