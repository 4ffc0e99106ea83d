/** The tables of a catalogue across versions: those of 0.1.0 move forward, and its code works on those of today. */
import { env, evictDurableObject, reset, runInDurableObject } from "cloudflare:test";
import { beforeEach, expect, test } from "vitest";
import { CATALOGUES, catalogueNamed } from "../../../src/files/store/shards.ts";
import { fetchText, putFile } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { collect, NOTHING, whatIsLeft } from "../../support/stored.ts";

keepQuiet();
beforeEach(() => reset());

const inCatalogue = async <T>(name: string, run: (storage: DurableObjectStorage) => T) =>
  runInDurableObject(catalogueNamed(env, name), (_, { storage }) => run(storage));

/** What the catalogues of 0.1.0 have: these tables, and no version. */
async function moveBack(): Promise<void> {
  for (const name of CATALOGUES) {
    await inCatalogue(name, ({ sql, kv }) => {
      const tables = sql
        .exec<{ name: string }>("SELECT name FROM sqlite_master WHERE type = 'table'")
        .toArray();
      for (const { name: table } of tables)
        if (!/^(file|stray|ended|_cf_.*|sqlite_.*)$/.test(table)) sql.exec(`DROP TABLE ${table}`);
      kv.delete("schema-version");
    });
    await evictDurableObject(catalogueNamed(env, name));
  }
}

test("a catalogue of 0.1.0 keeps its files, and its version is recorded", async () => {
  await putFile("a", "one");
  await moveBack();
  expect((await fetchText("/files/a")).text).toBe("one");
  expect((await putFile("a", "two")).status).toBe(200);
  await fetchText("/files/a", { method: "DELETE" });
  await collect();
  expect(await whatIsLeft()).toEqual(NOTHING);
  for (const name of CATALOGUES)
    expect(await inCatalogue(name, ({ kv }) => kv.get<number>("schema-version"))).toBeGreaterThan(0);
});

test("what 0.1.0 writes has a place in today's tables", async () => {
  await catalogueNamed(env, "c0").find("a");
  await inCatalogue("c0", ({ sql }) => {
    sql.exec(`INSERT INTO stray (blob, upload_id, due_at_ms) VALUES ('files/a/1', NULL, 1)
      ON CONFLICT (blob) DO UPDATE SET due_at_ms = excluded.due_at_ms`);
    sql.exec("INSERT OR REPLACE INTO stray (blob, due_at_ms) VALUES ('files/a/2', 1)");
    sql.exec("INSERT OR REPLACE INTO ended VALUES ('a', 1, 1)");
    sql.exec(`INSERT OR REPLACE INTO file
      (id, blob, filename, content_type, size, sha256, expires_at_ms, modified_at_ms, dated_at_ms, is_replacement)
      VALUES ('a', 'files/a/3', 'a', 'text/plain', 1, '', NULL, 1, 1, 0)`);
  });
  expect(await catalogueNamed(env, "c0").find("a")).toMatchObject({ blob: "files/a/3" });
});

test("a catalogue of a later version is left as it is", async () => {
  await catalogueNamed(env, "c0").find("a");
  await inCatalogue("c0", ({ kv }) => kv.put("schema-version", 99));
  await evictDurableObject(catalogueNamed(env, "c0"));
  expect(await catalogueNamed(env, "c0").find("a")).toBeUndefined();
  expect(await inCatalogue("c0", ({ kv }) => kv.get("schema-version"))).toBe(99);
});
