/** Files that a rule has checked before anybody sees them, through the front door. */
import { env, reset, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { heldFileSchema, openHeldFile } from "../../../src/files/index.ts";
import { catalogueOf } from "../../../src/files/store/shards.ts";
import { defineTask, NonRetryableError, registerTaskTypes } from "../../../src/tasks/index.ts";
import { callForJson } from "../../support/call.ts";
import { fetchText, putFile } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { NOTHING, whatIsLeft } from "../../support/stored.ts";
import { createTus, metadata, patchTus, send, TUS } from "../../support/uploads.ts";

const MARK = "EICAR-STANDARD-ANTIVIRUS-TEST-FILE";
let mayDecide = Promise.resolve();
let scanned: string[] = [];

registerTaskTypes([
  defineTask({
    name: "held_scan",
    input: heldFileSchema,
    async run(_ctx, file) {
      await mayDecide;
      const body = await openHeldFile(env, file);
      if (!body) throw new NonRetryableError("it is held no longer");
      const text = await new Response(body).text();
      scanned.push(file.version);
      if (text === "broken") throw new NonRetryableError("the scanner does not know this format");
      if (text === "strange") return { verdict: "fine" };
      return text.includes(MARK) ? { accepted: false, reason: "It has a virus." } : { accepted: true };
    },
  }),
]);

const rule = { variables: { UPLOAD_RULES: [{ prefix: "free-" }, { before_publish: "held_scan" }] } };

keepQuiet();
beforeEach(async () => {
  await reset();
  mayDecide = Promise.resolve();
  scanned = [];
});

/** On a busy machine, too. */
const until = <T>(look: () => Promise<T>) => expect.poll(look, { timeout: 20_000 });

/** Holds back each scan until the returned function is called. */
function pauseScans(): () => void {
  const { promise, resolve } = Promise.withResolvers<void>();
  mayDecide = promise;
  return resolve;
}

const put = async (id: string, body: string, query = "", headers: Record<string, string> = {}) =>
  putFile(`${id}${query}`, body, { ...rule, headers: { "Content-Type": "text/plain", ...headers } });
const taskOf = (body: Record<string, unknown>) => (body.task as { id: string }).id;
const task = async (id: string) => (await callForJson(`/tasks/${id}`)).body;
const read = async (id: string) => {
  const { status, text } = await fetchText(`/files/${id}`);
  return status === 200 ? text : status;
};
const listed = async () => ((await callForJson("/files")).body.files as { id: string }[]).map(({ id }) => id);
const held = async () =>
  (await callForJson("/held-files")).body.files as { fileId: string; version: string; checkTaskId: string }[];
/** Waits until the task that follows the check has ended. */
const published = async (checkId: string) => {
  await until(async () => (await task(checkId)).status).toBe("succeeded");
  const [follower = ""] = (await task(checkId)).followUps as string[];
  await until(async () => (await task(follower)).status).toBe("succeeded");
  return (await task(follower)).result as Record<string, unknown>;
};

describe("a file that is held", () => {
  test("is seen by nobody until its check accepts it, and then its task starts; what was there before stays until then", async () => {
    const [before] = [await put("free-a", "old")];
    expect([before.status, before.body.isHeld]).toEqual([201, undefined]);
    const goOn = pauseScans();
    const { status, body } = await put("a", "new", "?task=verify_file");
    expect([status, body]).toEqual([202, expect.objectContaining({ id: "a", size: 3, isHeld: true })]);
    expect([await read("a"), await listed()]).toEqual([404, ["free-a"]]);
    expect(
      (
        await callForJson("/files/a/links", {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: '{"expires_in":9}',
        })
      ).status,
    ).toBe(404);
    expect(await held()).toMatchObject([{ fileId: "a", checkTaskId: taskOf(body) }]);
    expect((await callForJson("/tasks?type=verify_file")).body.tasks).toEqual([]);
    goOn();
    expect(await published(taskOf(body))).toEqual({ is: "published", accepted: true });
    expect([await read("a"), await held()]).toEqual(["new", []]);
    const after = (await callForJson("/tasks?type=verify_file")).body.tasks as unknown[];
    expect(after).toHaveLength(1);
    const goOnAgain = pauseScans();
    const second = await put("a", "newer");
    expect(await read("a")).toBe("new");
    goOnAgain();
    await published(taskOf(second.body));
    expect([await read("a"), scanned.length]).toEqual(["newer", 2]);
  });

  test("and is refused leaves nothing; what was there before stays", async () => {
    await published(taskOf((await put("a", "good")).body));
    const { body } = await put("a", `X5O!${MARK}`);
    expect(await published(taskOf(body))).toEqual({
      is: "refused",
      accepted: false,
      reason: "It has a virus.",
    });
    expect([await read("a"), await held()]).toEqual(["good", []]);
    expect((await whatIsLeft()).objects).toHaveLength(1);
  });

  test.each(["broken", "strange"])(
    "whose check fails (%s) stays held until an admin decides",
    async (content) => {
      const [one, two] = [await put("a", content), await put("b", content)];
      for (const { body } of [one, two])
        await until(async () => (await task(taskOf(body))).status).toMatch(/failed|succeeded/);
      const versions = Object.fromEntries((await held()).map(({ fileId, version }) => [fileId, version]));
      expect(Object.keys(versions).toSorted()).toEqual(["a", "b"]);
      const decide = async (method: string, id: string) =>
        send(method, `/held-files/${id}/${String(versions[id])}`).then(({ status }) => status);
      expect([await decide("POST", "a"), await decide("DELETE", "b")]).toEqual([204, 204]);
      expect([await decide("POST", "a"), await decide("DELETE", "b")]).toEqual([404, 404]);
      expect([await read("a"), await read("b"), await held()]).toEqual([content, 404, []]);
    },
  );

  test("cannot be published by a task that somebody starts", async () => {
    const goOn = pauseScans();
    const { body } = await put("a", "x");
    const [{ version } = { version: "" }] = await held();
    const forged = await callForJson("/tasks", {
      method: "POST",
      headers: { "Content-Type": "application/json", Prefer: "wait=5" },
      body: JSON.stringify({ type: "publish_file", input: { fileId: "a", version } }),
    });
    expect(forged.body).toMatchObject({ status: "failed" });
    expect(await read("a")).toBe(404);
    goOn();
    await published(taskOf(body));
  });

  test("is superseded by a later one that is published before it", async () => {
    const goOn = pauseScans();
    const first = await put("a", "first");
    await new Promise((resolve) => setTimeout(resolve, 2));
    await put("a", "second");
    const newest = (await held())[0];
    expect((await send("POST", `/held-files/a/${String(newest?.version)}`)).status).toBe(204);
    goOn();
    await until(async () => (await task(taskOf(first.body))).status).toBe("failed");
    expect([await read("a"), await held()]).toEqual(["second", []]);
    expect((await whatIsLeft()).objects).toHaveLength(1);
  });

  test("of a conditional upload is refused if the condition holds no longer", async () => {
    const goOn = pauseScans();
    const conditional = await put("a", "x", "", { "If-None-Match": "*" });
    expect((await putFile("a", "direct")).status).toBe(201);
    goOn();
    await until(async () => (await task(taskOf(conditional.body))).status).toMatch(/failed|succeeded/);
    expect([await read("a"), await held()]).toEqual(["direct", []]);
  });
});

describe("every way in", () => {
  test("a form", async () => {
    const form = new FormData();
    for (const name of ["a", "b"]) form.append(name, new File([name], `${name}.txt`));
    const { status, body } = await callForJson("/files", { ...rule, method: "POST", body: form });
    const files = body.files as Record<string, unknown>[];
    expect([status, files.map(({ isHeld }) => isHeld)]).toEqual([202, [true, true]]);
    for (const file of files) await published(taskOf(file));
    expect(await listed()).toHaveLength(2);
  });

  test("tus: the Link of the last response leads to the check, and the end of the upload does not matter", async () => {
    const goOn = pauseScans();
    const path = await createTus(
      { "Upload-Length": 3, ...metadata({ filename: "a", task: "verify_file" }) },
      rule,
    );
    const last = await patchTus(path, 0, "abc", rule);
    const [, check = ""] = /tasks\/([^>]+)>; rel="monitor"/.exec(last.headers.get("Link") ?? "") ?? [];
    expect((await send("DELETE", path, { headers: TUS })).status).toBe(204);
    expect([await listed(), (await held()).length]).toEqual([[], 1]);
    goOn();
    expect(await published(check)).toMatchObject({ is: "published" });
    expect(await listed()).toHaveLength(1);
    expect((await callForJson("/tasks?type=verify_file")).body.tasks).toHaveLength(1);
  });

  test("the IETF draft", async () => {
    const headers = {
      "Upload-Complete": "?1",
      "Upload-Draft-Interop-Version": 10,
      "Content-Type": "text/plain",
    };
    const sent = await send("POST", "/uploads", { ...rule, body: MARK, headers });
    expect(await published(taskOf(sent.body ?? {}))).toMatchObject({ is: "refused" });
    expect((await whatIsLeft()).files).toEqual([]);
  });

  test("a grant, whose place it has", async () => {
    const made = await callForJson("/uploads/grants", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ max_bytes: 100, expires_in: 60, task: "verify_file" }),
    });
    const path = new URL(String(made.body.url)).pathname;
    const sent = await send("PUT", path, { ...rule, body: "abc" });
    expect([sent.status, sent.body?.owner]).toEqual([202, made.body.owner]);
    expect((await callForJson(path)).body).toMatchObject({ stored: 1 });
    await published(taskOf(sent.body ?? {}));
    expect(await listed()).toHaveLength(1);
  });
});

describe("whatever dies", () => {
  test("a check that was not started yet is started by the alarm, once", async () => {
    const { body } = await put("a", "x");
    await published(taskOf(body));
    const goOn = pauseScans();
    const second = await put("a", "y");
    await runInDurableObject(catalogueOf(env, "a"), async (_, { storage }) => {
      storage.sql.exec("UPDATE held SET check_at_ms = 1, check_task_id = NULL");
      await storage.setAlarm(Date.now() + 60_000);
    });
    await runDurableObjectAlarm(catalogueOf(env, "a"));
    expect(await held()).toMatchObject([{ checkTaskId: taskOf(second.body) }]);
    goOn();
    await published(taskOf(second.body));
    expect([await read("a"), scanned.length]).toEqual(["y", 2]);
  });

  test("a file that was published, and whose task was not started, is published once and its task starts", async () => {
    const goOn = pauseScans();
    const { body } = await put("a", "x", "?task=verify_file");
    const [{ version } = { version: "" }] = await held();
    expect(await catalogueOf(env, "a").decide(version, { accepted: true })).toMatchObject({
      is: "published",
    });
    expect([await read("a"), await held()]).toEqual(["x", []]);
    goOn();
    expect(await published(taskOf(body))).toMatchObject({ is: "published" });
    expect((await callForJson("/tasks?type=verify_file")).body.tasks).toHaveLength(1);
    expect(await catalogueOf(env, "a").decide(version, { accepted: false, reason: "late" })).toEqual({
      is: "gone",
    });
    expect(await read("a")).toBe("x");
  });

  test("a file about which nobody decides is removed after its time", async () => {
    const { body } = await put("a", "broken");
    await until(async () => (await task(taskOf(body))).status).toBe("failed");
    await runInDurableObject(catalogueOf(env, "a"), async (_, { storage }) => {
      storage.sql.exec("UPDATE stray SET due_at_ms = 1");
      await storage.setAlarm(Date.now() + 60_000);
    });
    const [{ version } = { version: "" }] = await held();
    expect((await send("POST", `/held-files/a/${version}`)).status).toBe(404);
    expect(await whatIsLeft()).toEqual(NOTHING);
    expect(await held()).toEqual([]);
  });
});

test("without the task type nothing is stored: a 503 names the rule", async () => {
  const variables = { UPLOAD_RULES: [{ before_publish: "no_such_type" }] };
  const { status, body } = await putFile("a", "x", { variables });
  expect([status, body.detail]).toEqual([503, expect.stringContaining("UPLOAD_RULES[0]")]);
  expect(await whatIsLeft()).toEqual(NOTHING);
});

test("pages of held files, newest first", async () => {
  const goOn = pauseScans();
  for (const id of ["a", "b", "c"]) await put(id, id);
  const first = (await callForJson("/held-files?limit=2")).body;
  const rest = (await callForJson(`/held-files?limit=2&cursor=${String(first.next)}`)).body;
  const ids = [first, rest].flatMap(({ files }) =>
    (files as { fileId: string }[]).map(({ fileId }) => fileId),
  );
  expect([ids, rest.next]).toEqual([["c", "b", "a"], null]);
  goOn();
});
