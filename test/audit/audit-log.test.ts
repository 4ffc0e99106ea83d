import { env, reset, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, expect, test } from "vitest";
import { type Found, RETENTION_DAYS } from "../../src/audit/audit-log.ts";
import { firstKeyAt, type Line } from "../../src/audit/line.ts";
import { objectNamed } from "../../src/kernel/objects.ts";

afterEach(async () => {
  await reset();
});

const DAY_MS = 86_400_000;
const logOf = () => objectNamed(env, "AUDIT_LOG", "audit");
const keyAt = (ms: number, n = 0) => `${firstKeyAt(ms)}-7000-8000-${String(n).padStart(12, "0")}`;
const line = (atMs: number, more: Partial<Line> = {}): Line => ({
  key: keyAt(atMs),
  token: "backend",
  method: "DELETE",
  route: "/files/{id}",
  id: "a",
  status: 204,
  problem: null,
  requestId: "r",
  ...more,
});

test("a line is one row, and one more when it goes", async () => {
  const nowMs = Date.now();
  await logOf().append([line(nowMs - 40 * DAY_MS)]);
  const rows = await runInDurableObject(logOf(), (_, { storage: { sql } }) => {
    const copy =
      "INSERT INTO line SELECT ? AS key, token, method, route, id, status, problem, request_id FROM line LIMIT 1";
    return [
      sql.exec(copy, keyAt(nowMs)).rowsWritten,
      sql.exec("DELETE FROM line WHERE key = ?", keyAt(nowMs)).rowsWritten,
    ];
  });
  expect(rows).toEqual([1, 1]);
});

test("a line that arrives twice is there once", async () => {
  const nowMs = Date.now();
  await logOf().append([line(nowMs)]);
  await logOf().append([line(nowMs), line(nowMs + 1)]);
  const { lines } = await logOf().find({}, undefined, 10);
  expect(lines).toEqual([line(nowMs + 1), line(nowMs)]);
});

test("pages have each line of a filter once, the newest first, whatever else there is", async () => {
  const nowMs = Date.now();
  const all = Array.from({ length: 57 }, (_, i) =>
    line(nowMs - i * 1_000, {
      key: keyAt(nowMs - i * 1_000, i),
      status: i % 3 === 0 ? 403 : 204,
      id: String(i),
    }),
  );
  await logOf().append(all.toReversed());
  const filter = { status: 403, sinceMs: nowMs - 50_000, untilMs: nowMs - 5_000 };
  const found: Line[] = [];
  let page: Found;
  let before: string | undefined;
  do {
    page = await logOf().find(filter, before, 4);
    found.push(...page.lines);
    before = page.next ?? undefined;
  } while (before !== undefined);
  expect(found.map(({ id }) => Number(id))).toEqual([
    6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 36, 39, 42, 45, 48,
  ]);
});

test("lines go after 30 days, and those that are younger stay", async () => {
  const nowMs = Date.now();
  const old = Array.from({ length: 2_500 }, (_, i) =>
    line(0, { key: keyAt(nowMs - RETENTION_DAYS * DAY_MS - 60_000, i) }),
  );
  for (let i = 0; i < old.length; i += 500) await logOf().append(old.slice(i, i + 500));
  const young = line(nowMs - RETENTION_DAYS * DAY_MS + 3_600_000);
  await logOf().append([young]);
  const alarms: (number | null)[] = [];
  for (let i = 0; i < 2; i++) {
    await runDurableObjectAlarm(logOf());
    alarms.push(await runInDurableObject(logOf(), (_, state) => state.storage.getAlarm()));
  }
  expect((await logOf().find({}, undefined, 10)).lines).toEqual([young]);
  // First the rest of the old lines, then not before there are many again.
  expect(alarms[0]).toBeLessThan(nowMs + 60_000);
  expect(alarms[1]).toBeGreaterThan(nowMs + 3_600_000);
});

test("a log that has no line any longer sleeps until the next", async () => {
  const nowMs = Date.now();
  await logOf().append([line(nowMs - 31 * DAY_MS)]);
  await runDurableObjectAlarm(logOf());
  const alarmOf = () => runInDurableObject(logOf(), (_, state) => state.storage.getAlarm());
  expect(await alarmOf()).toBeNull();
  await logOf().append([line(nowMs)]);
  expect(await alarmOf()).toBeGreaterThan(nowMs + 29 * DAY_MS);
});
