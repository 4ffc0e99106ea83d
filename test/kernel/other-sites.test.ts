import { describe, expect, test } from "vitest";
import { callForJson, callWorker } from "../support/call.ts";

const TOKEN = "reader-token-0123456789-0123456789";
const BASIC = `Basic ${btoa(`anyone:${TOKEN}`)}`;
const CHROME = {
  "User-Agent":
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
  "Accept-Language": "en-GB,en;q=0.9",
};
const REMOTE = {
  site: "https://sluice.example.com",
  variables: {
    ACCESS: "tokens",
    SLUICE_TOKENS: [{ name: "t", scopes: ["read", "write"], token: TOKEN }],
    CORS_ORIGINS: ["https://app.example.com"],
  },
};
const LOCAL = { site: "http://localhost:8787", variables: { CORS_ORIGINS: ["https://app.example.com"] } };

/** A route that shows, and two that act, with the response to whoever may call. One of those has an effect. */
const ROUTES = [
  ["GET", "/task-types", 200],
  ["POST", "/tasks/none/cancel", 404],
  ["GET", "/run-tasks", undefined],
] as const;
type Row = [name: string, headers: Record<string, string>, status: "taken" | 401 | 403];

describe.each(ROUTES)("%s %s", (method, path, taken) => {
  const rows = (all: Row[]) => all.filter(([, , status]) => status !== "taken" || taken !== undefined);
  const statusOf = async (options: typeof LOCAL | typeof REMOTE, headers: Record<string, string>) => {
    const { response } = await callWorker(path, { ...options, method, headers });
    await response.text();
    return response.status === taken ? "taken" : response.status;
  };

  describe("without a token on this machine", () => {
    test.each(
      rows([
        ["curl", { Host: "localhost:8787", "User-Agent": "curl/8.5.0", Accept: "*/*" }, "taken"],
        [
          "Node",
          { Host: "localhost:8787", "User-Agent": "node", "Accept-Language": "*", "Sec-Fetch-Mode": "cors" },
          "taken",
        ],
        ["PowerShell", { "User-Agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) PowerShell/7.4" }, "taken"],
        ["no Host", {}, "taken"],
        ["another loopback name", { Host: "127.0.0.1:8787" }, "taken"],
        [
          "our own page",
          { ...CHROME, "Sec-Fetch-Site": "same-origin", Origin: "http://localhost:8787" },
          "taken",
        ],
        [
          "our own page, which hides its origin",
          { ...CHROME, "Sec-Fetch-Site": "same-origin", Origin: "null" },
          "taken",
        ],
        ["a bookmark", { ...CHROME, "Sec-Fetch-Site": "none" }, "taken"],
        ["our own page, known by its Origin alone", { Origin: "http://localhost:8787" }, "taken"],
        [
          "a page of CORS_ORIGINS",
          { ...CHROME, "Sec-Fetch-Site": "cross-site", Origin: "https://app.example.com" },
          "taken",
        ],
        ["a page of CORS_ORIGINS, by its Origin alone", { Origin: "https://app.example.com" }, "taken"],

        ["another site", { ...CHROME, "Sec-Fetch-Site": "cross-site", Origin: "https://evil.example" }, 403],
        ["another site, without an Origin", { ...CHROME, "Sec-Fetch-Site": "cross-site" }, 403],
        [
          "another port of this machine",
          { ...CHROME, "Sec-Fetch-Site": "same-site", Origin: "http://localhost:3000" },
          403,
        ],
        ["another site, by its Origin alone", { Origin: "https://evil.example" }, 403],
        ["another port, by its Origin alone", { Origin: "http://localhost:3000" }, 403],
        ["another loopback name, by its Origin alone", { Origin: "http://127.0.0.1:8787" }, 403],
        ["another scheme, by its Origin alone", { Origin: "https://localhost:8787" }, 403],
        ["a sandboxed frame", { Origin: "null" }, 403],
        [
          "a sandboxed frame, with Fetch Metadata",
          { ...CHROME, "Sec-Fetch-Site": "cross-site", Origin: "null" },
          403,
        ],
        ["an Origin that is none", { Origin: "localhost:8787" }, 403],
        ["two Origins", { Origin: "http://localhost:8787, https://evil.example" }, 403],
        ["an empty Origin", { Origin: "" }, 403],
        ["an unknown site", { ...CHROME, "Sec-Fetch-Site": "elsewhere" }, 403],
        [
          "same-origin, of another Origin",
          { "Sec-Fetch-Site": "same-origin", Origin: "https://evil.example" },
          403,
        ],
        ["none, of another Origin", { "Sec-Fetch-Site": "none", Origin: "https://evil.example" }, 403],
      ]),
    )("%s", async (_name, headers, status) => {
      expect(await statusOf(LOCAL, headers)).toBe(status);
    });

    test.each(
      rows([
        ["its name", { Host: "evil.example:8787" }, 401],
        [
          "its name, as for its own page",
          { Host: "evil.example:8787", Origin: "http://evil.example:8787" },
          401,
        ],
        ["a name that begins with ours", { Host: "localhost.evil.example:8787" }, 401],
        ["a Host that cannot be read", { Host: "local host" }, 401],
        ["an empty Host", { Host: "" }, 401],
        // The local runtime gives the Worker what a script puts into MF-Original-URL as URL and Host.
        ["a forged URL, and what every browser sends", CHROME, 403],
        ["a forged URL, as Chrome sends it at the least", { ...CHROME, "Accept-Language": "*" }, 403],
        ["a forged URL, with the agent of Node", { ...CHROME, "User-Agent": "node" }, 403],
        ["a forged URL, without a language", { ...CHROME, "Accept-Language": "" }, 403],
        ["a forged URL and mode", { ...CHROME, "Sec-Fetch-Mode": "cors" }, 403],
        ["a forged URL, and its Origin", { Origin: "http://evil.example:8787" }, 403],
        ["a forged URL that is still there", { "MF-Original-URL": "http://localhost:8787/files" }, 403],
      ]),
    )("a page of a name that resolves here (DNS rebinding): %s", async (_name, headers, status) => {
      expect(await statusOf(LOCAL, headers)).toBe(status);
    });
  });

  describe("with Basic credentials", () => {
    test.each(
      rows([
        ["no page", {}, "taken"],
        ["a browser that is too old for Fetch Metadata, and follows a link", CHROME, "taken"],
        ["our own page", { "Sec-Fetch-Site": "same-origin" }, "taken"],
        ["our own page, by its Origin alone", { Origin: "https://sluice.example.com" }, "taken"],
        [
          "our own page, with its Host",
          { Origin: "https://sluice.example.com", Host: "sluice.example.com" },
          "taken",
        ],
        ["a page of CORS_ORIGINS", { Origin: "https://app.example.com" }, "taken"],
        ["another site", { "Sec-Fetch-Site": "cross-site" }, 403],
        ["another site, by its Origin alone", { Origin: "https://evil.example" }, 403],
        ["a sibling, by its Origin alone", { Origin: "https://www.example.com" }, 403],
        ["our name over plain HTTP", { Origin: "http://sluice.example.com" }, 403],
        ["a sandboxed frame", { Origin: "null" }, 403],
      ]),
    )("%s", async (_name, headers, status) => {
      expect(await statusOf(REMOTE, { Authorization: BASIC, ...headers })).toBe(status);
    });
  });

  test("a Bearer token, which no browser adds by itself, counts from any page", async () => {
    const headers = { Authorization: `Bearer ${TOKEN}`, Origin: "https://evil.example", ...CHROME };
    expect(await statusOf(REMOTE, headers)).not.toBe(403);
  });
});

test("the 403 says what to do", async () => {
  const other = await callForJson("/task-types", { ...LOCAL, headers: { Origin: "https://evil.example" } });
  expect(other.body.detail).toContain("CORS_ORIGINS");
  const rebound = await callForJson("/task-types", { ...LOCAL, headers: CHROME });
  expect(rebound.body.detail).toContain(".dev.vars.example");
});

test("a form of another site is not stored", async () => {
  const form = new FormData();
  form.set("file", new File(["x"], "forged.txt"));
  const { response } = await callWorker("/upload-file", {
    ...LOCAL,
    method: "POST",
    headers: { Origin: "https://evil.example" },
    body: form,
  });
  await response.text();
  expect(response.status).toBe(403);
  const { body } = await callForJson("/files");
  expect(body.files).toEqual([]);
});
