/**
 * Which scopes each route needs, and why: what its response shows. A response that shows something other than what its
 * caller has just sent needs "read".
 */
import { expect, test } from "vitest";
import { callForJson, callWorker } from "../support/call.ts";
import { keepQuiet } from "../support/quiet.ts";

keepQuiet();

/** What a response shows: something stored, what the caller has just sent and where it is now, or nothing. */
type Shows = "stored" | "sent" | "nothing";

const TABLE: Record<string, [shows: Shows, scopes: string[]]> = {
  // Who is calling.
  "GET /session": ["sent", []],
  "DELETE /session": ["nothing", []],
  "DELETE /sessions": ["nothing", []],
  "GET /docs": ["stored", ["read"]],
  "GET /openapi.json": ["stored", ["read"]],
  "GET /hello": ["stored", ["read"]],
  "GET /metrics": ["stored", ["read"]],
  "GET /events": ["stored", ["read"]],
  "GET /data": ["stored", ["read"]],
  // Both start two tasks, and show their ids.
  "GET /run-tasks": ["sent", ["write"]],
  "POST /run-tasks": ["sent", ["write"]],

  "GET /tasks": ["stored", ["read"]],
  "GET /tasks/counts": ["stored", ["read"]],
  "GET /task-types": ["stored", ["read"]],
  "GET /task-types/{name}": ["stored", ["read"]],
  "PATCH /task-types/{name}": ["stored", ["admin", "read"]],
  "GET /tasks/{id}": ["stored", ["read"]],
  "GET /tasks/{id}/events": ["stored", ["read"]],
  // The ids. Without "read" there is no waiting for a result.
  "POST /tasks": ["sent", ["write"]],
  // How many, of which type was sent.
  "POST /tasks/retry": ["sent", ["admin"]],
  // A dry run: what is stored.
  "POST /tasks/bulk": ["stored", ["write", "read"]],
  // The task, with its input and result.
  "POST /tasks/{id}/cancel": ["stored", ["write", "read"]],
  "POST /tasks/{id}/retry": ["stored", ["write", "read"]],
  "DELETE /tasks/{id}": ["nothing", ["write"]],

  // Whether there is such a task.
  "POST /tasks/{id}/signals/{name}": ["sent", ["write"]],
  "POST /tasks/{id}/signals/{name}/links": ["sent", ["write"]],
  "POST /tasks/{id}/events/links": ["stored", ["write", "read"]],
  "POST /events/links": ["stored", ["write", "read"]],
  "GET /schedules": ["stored", ["read"]],
  "GET /schedules/{id}": ["stored", ["read"]],
  "POST /schedules": ["sent", ["write"]],
  "PUT /schedules/{id}": ["stored", ["write", "read"]],
  "PATCH /schedules/{id}": ["stored", ["write", "read"]],
  "POST /schedules/{id}/run": ["sent", ["write"]],
  "GET /schedules/{id}/runs": ["stored", ["read"]],
  "DELETE /schedules/{id}": ["nothing", ["write"]],

  "GET /files": ["stored", ["read"]],
  "GET /files/{id}": ["stored", ["read"]],
  "POST /files": ["sent", ["write"]],
  "POST /upload-file": ["sent", ["write"]],
  "PUT /files/{id}": ["sent", ["write"]],
  "DELETE /files/{id}": ["nothing", ["write"]],
  // A link reads the file.
  "POST /files/{id}/links": ["stored", ["write", "read"]],

  // The file, once it is finished. The state of one that is under way needs "write" too: that stops its writer.
  "GET /uploads/{id}": ["stored", ["read"]],
  "POST /uploads": ["sent", ["write"]],
  "PATCH /uploads/{id}": ["sent", ["write"]],
  "POST /uploads/{id}": ["sent", ["write"]],
  "DELETE /uploads/{id}": ["nothing", ["write"]],
  "POST /uploads/grants": ["stored", ["write", "read"]],
  "GET /uploads/grants/{id}": ["stored", ["read"]],
  "DELETE /uploads/grants/{id}": ["nothing", ["write"]],

  "GET /upstreams": ["stored", ["read"]],
  "GET /upstreams/{name}": ["stored", ["read"]],
  "GET /upstreams/{name}/events": ["stored", ["read"]],
  // The whole status, with who holds permits and who waits.
  "PATCH /upstreams/{name}": ["stored", ["admin", "read"]],
  // Whatever the upstream responds with.
  "GET /fetch/{upstream}/{path}": ["stored", ["read"]],
  "HEAD /fetch/{upstream}/{path}": ["stored", ["read"]],
  "OPTIONS /fetch/{upstream}/{path}": ["stored", ["read"]],
  "POST /fetch/{upstream}/{path}": ["stored", ["write", "read"]],
  "PUT /fetch/{upstream}/{path}": ["stored", ["write", "read"]],
  "PATCH /fetch/{upstream}/{path}": ["stored", ["write", "read"]],
  "DELETE /fetch/{upstream}/{path}": ["stored", ["write", "read"]],
};

const TOKEN = "token-of-the-tests-0123456789-0123456789";
const rows = Object.entries(TABLE).map(([route, [shows, scopes]]) => ({ route, shows, scopes }));

async function operations(): Promise<Map<string, string[]>> {
  const { body } = await callForJson("/openapi.json");
  const paths = body.paths as Record<string, Record<string, { security?: { token: string[] }[] }>>;
  return new Map(
    Object.entries(paths).flatMap(([path, item]) =>
      Object.entries(item).map(([method, { security }]): [string, string[]] => [
        `${method.toUpperCase()} ${path}`,
        security?.[0]?.token ?? [],
      ]),
    ),
  );
}

const as = (scopes: string[]) => ({
  site: "https://sluice.example.com",
  variables: { ACCESS: "tokens", SLUICE_TOKENS: [{ name: "t", scopes, token: TOKEN }] },
  headers: { Authorization: `Bearer ${TOKEN}` },
});

test.each(rows)("$route shows what is $shows, and needs $scopes", async ({ route, shows, scopes }) => {
  expect((await operations()).get(route)?.toSorted()).toEqual(scopes.toSorted());
  expect(scopes.includes("read")).toBe(shows === "stored");
});

test("no route of the features is missing from the table", async () => {
  const features =
    /^\w+ \/(tasks|task-types|schedules|files|upload-file|uploads|upstreams|fetch|run-tasks|data|metrics|events)\b/;
  const known = [...(await operations())].filter(
    ([route, scopes]) => scopes.length > 0 && features.test(route),
  );
  expect(known.length).toBeGreaterThan(30);
  expect(known.map(([route]) => route).filter((route) => !(route in TABLE))).toEqual([]);
});

test.each(rows.filter(({ shows, scopes }) => shows === "stored" && scopes.length > 1))(
  "$route: neither scope is enough alone",
  async ({ route, scopes }) => {
    const [method = "", path = ""] = route.split(" ");
    for (const scope of scopes) {
      const { response } = await callWorker(path.replaceAll(/[{}]/g, ""), { ...as([scope]), method });
      expect([scope, response.status]).toEqual([scope, 403]);
      expect(await response.text()).toContain(
        scopes
          .map((needed) => JSON.stringify(needed))
          .join(" and ")
          .replaceAll('"', '\\"'),
      );
    }
    const { response } = await callWorker(path.replaceAll(/[{}]/g, ""), { ...as(scopes), method });
    await response.text();
    expect([401, 403]).not.toContain(response.status);
  },
);

test("with `write` alone, nobody waits for a result", async () => {
  const submit = async (scopes: string[]) => {
    const { headers, ...options } = as(scopes);
    const { response, settled } = await callWorker("/tasks", {
      ...options,
      method: "POST",
      headers: { ...headers, "Content-Type": "application/json", Prefer: "wait=10" },
      body: JSON.stringify({ type: "task_a" }),
    });
    const body = await response.json<Record<string, unknown>>();
    await settled();
    return {
      status: response.status,
      applied: response.headers.get("Preference-Applied"),
      members: Object.keys(body),
    };
  };
  const [writer, reader] = await Promise.all([submit(["write"]), submit(["write", "read"])]);
  expect(writer).toEqual({ status: 202, applied: null, members: ["id", "url"] });
  expect(reader).toMatchObject({ status: 200, applied: "wait=10" });
});
