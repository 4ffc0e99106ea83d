/** Signing in to the dashboard, the end of a session, and what pages of other origins can do with it: nothing. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, test } from "vitest";
import { hasChromium } from "../../support/chromium.ts";
import { startOnMiniflare } from "../../support/node/built-worker.ts";
import { visitor } from "../../support/node/dashboard.ts";

/** Long enough to start a Worker and to sign in. */
const SIGN_IN_MS = 45_000;

/** In a page of another origin: a form that is sent, or a `fetch`, as somebody who means harm would do it. */
const forge = (action: string, method: string, way: "form" | "fetch") =>
  way === "fetch"
    ? `{ fetch("${action}", { method: "${method}", mode: "no-cors", credentials: "include" }).catch(() => {}); }`
    : `{
        const form = Object.assign(document.createElement("form"), { action: "${action}", method: "${method}" });
        document.body.append(form);
        form.submit();
      }`;

describe.skipIf(!hasChromium)("the dashboard, with tokens,", () => {
  const visit = visitor();

  test("asks for a token where it needs one, and forgets it when told to", async () => {
    const { page } = visit;
    const token = "dashboard-token-0123456789-0123456789";
    const tokens = [{ name: "watcher", scopes: ["read"], token }];
    const guarded = await startOnMiniflare({ ACCESS: "tokens", SLUICE_TOKENS: tokens });
    // The browser reports each 401 by itself.
    visit.expectComplaint("401 (Unauthorized)");
    await page.goto(guarded.url);
    await page.getByLabel("A token of this Sluice").fill("not-the-token-0123456789-0123456789");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("This token is unknown.").waitFor();
    await page.getByLabel("A token of this Sluice").fill(token);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("heading", { name: "See it work" }).waitFor();
    // What the token may not do is not offered.
    expect(await page.getByRole("heading", { level: 2 }).allTextContents()).toEqual([
      "A streamed response",
      "A call under a shared limit",
    ]);
    const cookies = await page.context().cookies();
    expect(cookies).toMatchObject([{ httpOnly: true, secure: true, sameSite: "Strict" }]);
    expect(await page.evaluate<string>("document.cookie + JSON.stringify(localStorage)")).not.toContain(
      token,
    );
    await page.getByText("watcher").click();
    await page.getByRole("button", { name: "Sign out", exact: true }).click();
    await page.getByLabel("A token of this Sluice").waitFor();
  });

  test("asks for a token again when the session ends, also if nobody does anything", async () => {
    const { page } = visit;
    const expiring = { name: "expiring", scopes: ["read"], token: "expiring-token-0123456789-0123456789" };
    const lasting = { name: "lasting", scopes: ["read"], token: "lasting-token-0123456789-0123456789-" };
    const expires_at = new Date(Date.now() + SIGN_IN_MS).toISOString();
    const tokens = [{ ...expiring, expires_at }, lasting];
    const guarded = await startOnMiniflare({ ACCESS: "tokens", SLUICE_TOKENS: tokens });
    visit.expectComplaint("401 (Unauthorized)");
    const signInAs = async ({ token }: { token: string }) => {
      await page.goto(`${guarded.url}/#/files`);
      await page.getByLabel("A token of this Sluice").fill(token);
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.getByText("Live").waitFor();
    };
    await signInAs(expiring);
    await page.getByLabel("A token of this Sluice").waitFor({ timeout: 2 * SIGN_IN_MS });
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(expires_at));
    await signInAs(lasting);
    // Ended elsewhere: the next call shows it.
    const [cookie] = await page.context().cookies();
    const headers = { Cookie: `${cookie?.name}=${cookie?.value}`, Origin: guarded.url };
    expect((await fetch(`${guarded.url}/sessions`, { method: "DELETE", headers })).status).toBe(204);
    await page.getByRole("link", { name: "Tasks", exact: true }).click();
    await page.getByLabel("A token of this Sluice").waitFor();
  });

  test("obeys no page of another origin, even of this site, which sends the session along", async () => {
    const { page } = visit;
    const token = "forger-token-0123456789-0123456789-0";
    const tokens = [{ name: "operator", scopes: ["read", "write", "admin"], token }];
    const guarded = await startOnMiniflare({ ACCESS: "tokens", SLUICE_TOKENS: tokens });
    const evil = createServer((_, response) => response.end("<!doctype html><title>evil</title>"));
    await once(evil.listen(0, "127.0.0.1"), "listening");
    const { port } = new URL(guarded.url);
    const evilPort = (evil.address() as AddressInfo).port;
    try {
      const target = `http://localhost:${port}`;
      visit.expectComplaint("401 (Unauthorized)");
      visit.expectComplaint("403 (Forbidden)");
      await page.goto(target);
      await page.getByLabel("A token of this Sluice").fill(token);
      await page.getByRole("button", { name: "Sign in" }).click();
      await page.getByRole("heading", { name: "See it work" }).waitFor();
      const from = async (host: string, method: string, way: "form" | "fetch") => {
        const forger = await page.context().newPage();
        await forger.goto(`http://${host}:${evilPort}`);
        const sent = forger.waitForRequest((request) => request.url().startsWith(`${target}/`));
        await forger.evaluate(forge(`${target}/run-tasks`, method, way));
        const request = await sent;
        const response = await request.response();
        const headers = await request.allHeaders();
        await forger.close();
        // The browser shows nobody the response to a fetch, since that may be read by this origin alone.
        if (way === "fetch") return response?.status();
        return { hadCookie: headers.cookie?.includes("sluice=") === true, status: response?.status() };
      };
      for (const method of ["POST", "GET"]) {
        const forged = await from("localhost", method, "form");
        expect([method, forged]).toEqual([method, { hadCookie: true, status: 403 }]);
        const foreign = await from("127.0.0.1", method, "form");
        expect([method, foreign]).toEqual([method, { hadCookie: false, status: 401 }]);
        for (const host of ["localhost", "127.0.0.1"])
          expect([method, host, await from(host, method, "fetch")]).toEqual([method, host, undefined]);
      }
      const all = await fetch(`${target}/tasks`, { headers: { Authorization: `Bearer ${token}` } });
      expect(await all.json()).toMatchObject({ tasks: [] });
    } finally {
      evil.close();
      evil.closeAllConnections();
    }
  });
});
