/** Sending signals: what is refused, what a repeat does, and links. */
import { describe, expect, test } from "vitest";
import { MAX_KEPT_SIGNALS } from "../../../src/tasks/ledger/wait-rules.ts";
import { fetchTask, newType, runTasks, someId, whenEnded } from "../../support/background.ts";
import { callForJson, callWorker } from "../../support/call.ts";
import { keepQuiet } from "../../support/quiet.ts";

keepQuiet();

const LINK_KEYS = "key-of-the-tests-of-signals-0123456789";
const list = newType("signal_list", async (ctx) => {
  const first = await ctx.waitFor("n");
  return first === "all" ? [await ctx.waitFor("n"), await ctx.waitFor("n")] : first;
});
const ended = newType("signal_ended", async () => "done");

async function start(type = list): Promise<string> {
  const [task] = await runTasks([{ type, input: {} }]);
  return String(task?.id);
}

const post = async (path: string, body: unknown, headers: Record<string, string> = {}) =>
  callForJson(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify(body),
    variables: { LINK_KEYS },
  });
const send = async (id: string, payload: unknown, key?: string, name = "n") =>
  post(`/tasks/${id}/signals/${name}`, payload, key === undefined ? {} : { "Idempotency-Key": key });

describe("is refused", () => {
  test.each([
    ["(a good one, to compare)", "n", "1", undefined, 202, undefined],
    ["a bad name", "a%20b", "1", undefined, 400, "malformed"],
    ["a long name", "n".repeat(65), "1", undefined, 400, "malformed"],
    ["a bad key", "n", "1", "unquoted key", 400, "malformed"],
    ["what is not JSON", "n", "{", undefined, 400, "malformed"],
    ["too long a payload", "n", JSON.stringify("x".repeat(65_535)), undefined, 413, "too-large"],
  ])("%s", async (_what, name, body, key, status, kind) => {
    const response = await callForJson(`/tasks/${await start()}/signals/${name}`, {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        ...(key === undefined ? {} : { "Idempotency-Key": key }),
      },
      body,
    });
    expect([response.status, response.body.type]).toEqual([
      status,
      kind === undefined ? undefined : `urn:sluice:problem:${kind}`,
    ]);
  });

  test("a signal to no task, and to one that has ended", async () => {
    for (const id of ["nothing", someId()]) expect((await send(id, 1)).status).toBe(404);
    const id = await start(ended);
    expect((await send(id, 1)).status).toBe(409);
    expect(await fetchTask(id)).toMatchObject({ status: "succeeded", result: "done" });
  });

  test("more than a task keeps", async () => {
    const id = await start();
    for (let n = 0; n < MAX_KEPT_SIGNALS; n++) await send(id, n, undefined, "unheard");
    expect(await send(id, 1, undefined, "unheard")).toMatchObject({
      status: 409,
      body: { type: "urn:sluice:problem:too-many-signals" },
    });
    expect((await send(id, "awaited")).status).toBe(202);
    expect(await whenEnded(id)).toMatchObject({ result: "awaited" });
  });
});

describe("with an Idempotency-Key", () => {
  test("a signal is sent once, however often it is repeated, also after the task has ended", async () => {
    const id = await start();
    const first = await send(id, "all", '"0"');
    await Promise.all([send(id, 1, '"1"'), send(id, 1, '"1"')]);
    await send(id, 2, '"2"');
    expect(await whenEnded(id)).toMatchObject({ status: "succeeded", result: [1, 2] });
    expect(await send(id, "all", '"0"')).toMatchObject({ status: 202, body: first.body });
  });

  test("another payload is another signal, and so a 422", async () => {
    const id = await start();
    await send(id, { a: 1, b: 2 }, '"1"', "x");
    expect((await send(id, { b: 2, a: 1 }, '"1"', "x")).status).toBe(202);
    expect((await send(id, { a: 2 }, '"1"', "x")).body.type).toBe(
      "urn:sluice:problem:idempotency-key-reused",
    );
    expect((await send(id, { a: 1, b: 2 }, '"1"', "y")).status).toBe(422);
  });
});

describe("a link", () => {
  const OPEN = { ACCESS: "tokens", LINK_KEYS };
  const follow = async (url: string, method: string) => {
    const { response, settled } = await callWorker(new URL(url).pathname, {
      method,
      site: "https://sluice.example.com",
      variables: OPEN,
    });
    const text = await response.text();
    await settled();
    return { status: response.status, text, headers: response.headers };
  };
  const create = async (id: string, body: unknown = { expires_in: 60, payload: "by link" }, name = "n") =>
    post(`/tasks/${id}/signals/${name}/links`, body);

  test("shows a page with a button, which changes nothing, and sends one signal by POST", async () => {
    const id = await start();
    const { status, body, headers } = await create(id);
    const url = String(body.url);
    expect([status, headers.get("Location")]).toEqual([201, url]);
    for (const method of ["GET", "HEAD", "GET"]) {
      const page = await follow(url, method);
      expect(page.status).toBe(200);
      expect(page.headers.get("Content-Security-Policy")).toMatch(/default-src 'none'.*form-action 'self'/);
    }
    expect((await follow(url, "GET")).text).toContain('<form method="post"><button>');
    expect(await fetchTask(id)).toMatchObject({ status: "scheduled" });
    expect(await follow(url, "POST")).toMatchObject({ status: 200, text: expect.stringContaining("Sent") });
    expect(await whenEnded(id)).toMatchObject({ result: "by link" });
    expect((await follow(url, "POST")).status).toBe(200);
  });

  test("sends its signal once: a second POST is not received by another wait", async () => {
    const id = await start();
    const url = String((await create(id, { expires_in: 60, payload: "all" })).body.url);
    for (let n = 0; n < 3; n++) await follow(url, "POST");
    await send(id, 1);
    await send(id, 2);
    expect(await whenEnded(id)).toMatchObject({ result: [1, 2] });
  });

  test("is good for its task, its name, its payload and its time alone", async () => {
    const [id, other] = [await start(), await start()];
    const url = String((await create(id)).body.url);
    const forged = [
      url.replace(id, other),
      url.replace("/signals/n/", "/signals/m/"),
      url.replace(/\.([\w-]*)\.([\w-]{43})$/, `.${Buffer.from('"forged"').toString("base64url")}.$2`),
      url.replace(/links\/\d+/, "links/9999999999"),
      `${url}A`,
    ];
    for (const bad of forged)
      for (const method of ["GET", "POST"]) {
        const { status, text } = await follow(bad, method);
        expect([bad, method, status]).toEqual([bad, method, 403]);
        expect(text).toContain("not valid or has expired");
      }
    expect(await fetchTask(id)).toMatchObject({ status: "scheduled" });
  });

  test("to a task that has ended, or is gone, says so on a page", async () => {
    const id = await start();
    const [one, two] = [await create(id), await create(id)];
    await follow(String(one.body.url), "POST");
    await whenEnded(id);
    expect(await follow(String(two.body.url), "POST")).toMatchObject({
      status: 409,
      text: expect.stringContaining("has ended"),
    });
    await callForJson(`/tasks/${id}`, { method: "DELETE" }).catch(() => undefined);
    expect((await follow(String(two.body.url), "POST")).status).toBe(404);
  });

  test.each([
    [{ expires_in: 0 }, 422],
    [{ expires_in: 30 * 86_400 + 1 }, 422],
    [{}, 422],
    [{ expires_in: 60, payload: "x".repeat(1_024) }, 413],
    [{ expires_in: 60 }, 201],
  ])("made with %j is a %i", async (body, status) => {
    expect((await create(await start(), body)).status).toBe(status);
  });

  test("is made by a task's code as well", async () => {
    const type = newType("signal_url", async (ctx) => {
      const url = await ctx.step("url", async () => ctx.signalUrl("ok", { expiresIn: "1h", payload: [1] }));
      await ctx.step("told", async () => void (told = url));
      return ctx.waitFor("ok");
    });
    let told = "";
    const [task] = await runTasks([{ type, input: {} }], {
      LINK_KEYS,
      PUBLIC_URL: "https://sluice.example.com/",
    });
    expect(told).toMatch(/^https:\/\/sluice\.example\.com\/tasks\//);
    expect((await follow(told, "POST")).status).toBe(200);
    expect(await whenEnded(String(task?.id))).toMatchObject({ status: "succeeded", result: [1] });
  });

  test("cannot be made by a task without PUBLIC_URL: the error names it", async () => {
    const type = newType("signal_url_nowhere", async (ctx) => ctx.signalUrl("ok"));
    const [task] = await runTasks([{ type, input: {} }], { LINK_KEYS, PUBLIC_URL: "", ACCESS: "tokens" });
    expect(task).toMatchObject({
      status: "failed",
      error: { message: expect.stringContaining("PUBLIC_URL") },
    });
  });
});
