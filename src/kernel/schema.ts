/**
 * The schema of an object's tables, and how it moves forward.
 *
 * During a deploy, and in a gradual one for days, old and new code take turns with the same object; after a rollback the
 * old code has it again. So a migration only adds: tables, indexes, and columns that have a default, without a CHECK
 * that a later value would break. Then older code still reads and inserts rows, as long as it names its columns. Only
 * indexes may also go, since nobody misses them but whoever waits for a query.
 */

/** SQL, or a function that does what SQL alone cannot. */
type Migration = string | ((sql: SqlStorage) => void);

const VERSION_KEY = "schema-version";

/**
 * Brings the tables up to date: runs the migrations that this object has not had, all or none. Append to the list, and
 * never change what a release has had. The first must also be right for tables that exist: objects of Sluice 0.1.0 have
 * tables and no version. A version that is newer than the code is left alone.
 */
export function migrate(storage: DurableObjectStorage, migrations: readonly Migration[]): void {
  const version = storage.kv.get<number>(VERSION_KEY) ?? 0;
  if (version >= migrations.length) return;
  storage.transactionSync(() => {
    for (const migration of migrations.slice(version)) {
      if (typeof migration === "string") storage.sql.exec(migration);
      else migration(storage.sql);
    }
    storage.kv.put(VERSION_KEY, migrations.length);
  });
}

/** A migration that adds columns, each with its type and default, to a table which may have some of them already. */
export function addColumns(table: string, columns: Readonly<Record<string, string>>): Migration {
  return (sql) => {
    const existing = new Set(
      sql
        .exec<{ name: string }>("SELECT name FROM pragma_table_info(?)", table)
        .toArray()
        .map(({ name }) => name),
    );
    for (const [name, definition] of Object.entries(columns)) {
      if (!existing.has(name)) sql.exec(`ALTER TABLE ${table} ADD COLUMN ${name} ${definition}`);
    }
  };
}
