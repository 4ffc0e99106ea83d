/** Migrations: each runs once, all or none, and none of them backwards. */
import { env, runInDurableObject } from "cloudflare:test";
import { expect, test } from "vitest";
import { addColumns, migrate } from "../../src/kernel/schema.ts";

const FIRST = "CREATE TABLE IF NOT EXISTS thing (id TEXT PRIMARY KEY) STRICT";
const SECOND = addColumns("thing", { size: "INTEGER NOT NULL DEFAULT 7" });

/** The storage of an object of no consequence. */
const inStorage = async (use: (storage: DurableObjectStorage) => void) =>
  runInDurableObject(env.UPLOAD_SESSION.getByName(crypto.randomUUID()), (_, { storage }) => {
    storage.kv.delete("schema-version");
    use(storage);
  });
const things = ({ sql }: DurableObjectStorage) => sql.exec("SELECT * FROM thing").toArray();

test("a new object has the tables of the latest version", async () => {
  await inStorage((storage) => {
    migrate(storage, [FIRST, SECOND]);
    storage.sql.exec("INSERT INTO thing (id) VALUES ('a')");
    expect(things(storage)).toEqual([{ id: "a", size: 7 }]);
  });
});

test("an object without a version, with or without the columns, keeps its rows", async () => {
  for (const had of [FIRST, "CREATE TABLE thing (id TEXT PRIMARY KEY, size INTEGER NOT NULL DEFAULT 7)"]) {
    await inStorage((storage) => {
      storage.sql.exec(had);
      storage.sql.exec("INSERT INTO thing (id) VALUES ('old')");
      migrate(storage, [FIRST, SECOND]);
      expect(things(storage)).toEqual([{ id: "old", size: 7 }]);
    });
  }
});

test("each migration runs once, and a start that has nothing to do writes nothing", async () => {
  await inStorage((storage) => {
    const ran: string[] = [];
    const step = (name: string) => () => void ran.push(name);
    migrate(storage, [step("1")]);
    migrate(storage, [step("1"), step("2"), step("3")]);
    const before = storage.sql.exec("SELECT total_changes() AS n").one();
    migrate(storage, [step("1"), step("2"), step("3")]);
    expect(ran).toEqual(["1", "2", "3"]);
    expect(storage.sql.exec("SELECT total_changes() AS n").one()).toEqual(before);
  });
});

test("older code leaves a newer schema alone, and its rows are good for the newer code", async () => {
  await inStorage((storage) => {
    migrate(storage, [FIRST, SECOND]);
    migrate(storage, [FIRST]);
    storage.sql.exec("INSERT INTO thing (id) VALUES ('by older code')");
    migrate(storage, [FIRST, SECOND]);
    expect(things(storage)).toEqual([{ id: "by older code", size: 7 }]);
  });
});

test("a migration that fails leaves everything as it was", async () => {
  await inStorage((storage) => {
    migrate(storage, [FIRST]);
    const fails = () => {
      throw new Error("no");
    };
    expect(() => migrate(storage, [FIRST, SECOND, fails])).toThrow("no");
    storage.sql.exec("INSERT INTO thing (id) VALUES ('a')");
    expect(things(storage)).toEqual([{ id: "a" }]);
    migrate(storage, [FIRST, SECOND]);
    expect(things(storage)).toEqual([{ id: "a", size: 7 }]);
  });
});
