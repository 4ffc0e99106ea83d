/** `GET /events` for some tasks, and by a link. */
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { defineTask } from "../../src/tasks/index.ts";
import { registerTaskTypes } from "../../src/tasks/types/registry.ts";
import { callForJson, callWorker } from "../support/call.ts";
import { EventReader } from "../support/events.ts";
import { keepQuiet } from "../support/quiet.ts";
import { expectRuntimeErrors } from "../support/runtime-errors.ts";
import { submitted } from "../support/submissions.ts";

expectRuntimeErrors("reader canceled");
keepQuiet();

const wanted = defineTask({ name: "watched_wanted", input: z.object({}), run: async () => null });
const other = defineTask({ name: "watched_other", input: z.object({}), run: async () => null });
registerTaskTypes([wanted, other]);

const VARIABLES = { LINK_KEYS: "a-key-of-these-tests-with-32-characters" };

/** The tasks that the stream tells of, until one with this id has ended. */
async function seenUntilEnd(path: string, start: () => Promise<string[]>): Promise<Set<string>> {
  const { response } = await callWorker(path, { variables: VARIABLES });
  expect(response.status).toBe(200);
  expect(response.headers.get("X-Accel-Buffering")).toBe("no");
  const reader = new EventReader(response.body ?? expect.fail());
  expect((await reader.next())?.event).toBe("begin");
  const seen = new Set<string>();
  const ids = await start();
  for (;;) {
    const event = await reader.next();
    const lines = (event?.data.tasks ?? []) as { id: string; status: string }[];
    for (const { id } of lines) seen.add(id);
    if (lines.some(({ id, status }) => id === ids.at(-1) && status === "succeeded")) break;
    if (!event) throw new Error("the stream has ended");
    expect(["tasks", "reset"]).toContain(event.event);
  }
  await reader.cancel();
  return seen;
}

describe("GET /events", () => {
  test("has only the tasks of the type", async () => {
    let ids: string[] = [];
    const seen = await seenUntilEnd("/events?type=watched_wanted", async () => {
      ids = [await submitted({ type: "watched_other" }), await submitted({ type: "watched_wanted" })];
      return ids;
    });
    expect([...seen]).toEqual(ids.slice(1));
  });

  test("has only the tasks with all of the tags", async () => {
    let ids: string[] = [];
    const seen = await seenUntilEnd("/events?tag=red,blue", async () => {
      ids = [
        await submitted({ type: "watched_wanted", tags: ["red"] }),
        await submitted({ type: "watched_other", tags: ["blue", "red"] }),
      ];
      return ids;
    });
    expect([...seen]).toEqual(ids.slice(1));
  });

  test.each(["tag=a%20b", `type=${"x".repeat(65)}`, "type=a&type=b"])("refuses ?%s", async (query) => {
    expect((await callForJson(`/events?${query}`)).status).toBe(422);
  });
});

describe("a link to the events of some tasks", () => {
  const create = async (body: object) =>
    callForJson("/events/links", {
      method: "POST",
      variables: VARIABLES,
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  const anybody = { site: "https://sluice.example.com", variables: { ...VARIABLES, ACCESS: "tokens" } };
  const statusAt = async (path: string) => {
    const { response } = await callWorker(path, anybody);
    await response.body?.cancel();
    return response.status;
  };

  test("has its filter in it, and is good for no other", async () => {
    const { status, body } = await create({ type: "watched_wanted", tag: ["b", "a"], expires_in: 60 });
    expect(status).toBe(201);
    const { pathname, search, searchParams } = new URL(String(body.url));
    expect(Object.fromEntries(searchParams)).toEqual({ type: "watched_wanted", tag: "b,a" });
    expect(await statusAt(pathname + search)).toBe(200);
    expect(await statusAt(`${pathname}?type=watched_wanted&tag=a,b`)).toBe(200);
    for (const query of ["", "?type=watched_wanted", "?tag=a,b", "?type=watched_other&tag=a,b"])
      expect([query, await statusAt(pathname + query)]).toEqual([query, 403]);
    const { response } = await callWorker(pathname + search, anybody);
    expect(response.headers.get("Access-Control-Allow-Origin")).toBe("*");
    await response.body?.cancel();
  });

  test("shows those tasks", async () => {
    const { body } = await create({ type: "watched_wanted", expires_in: 60 });
    const { pathname, search } = new URL(String(body.url));
    let id = "";
    const seen = await seenUntilEnd(pathname + search, async () => [
      (id = await submitted({ type: "watched_wanted" })),
    ]);
    expect([...seen]).toEqual([id]);
  });

  test("needs a lifetime, and knows no other filter", async () => {
    for (const body of [
      {},
      { expires_in: 0 },
      { expires_in: 60, status: ["failed"] },
      { expires_in: 60, tag: ["a b"] },
    ])
      expect((await create(body)).status).toBe(422);
  });
});
