/** Leases as SQLite keeps them; times are ms since the epoch. */
export interface LeaseRow {
  [column: string]: SqlStorageValue;
  id: string;
  fence: number;
  holder: string;
  granted_at_ms: number;
  ends_at_ms: number;
}

export const CREATE_TABLES = `
  CREATE TABLE IF NOT EXISTS lease (
    -- AUTOINCREMENT never gives a number twice, not even when the table has become empty: the next fence.
    -- Rows are found by it; an index by id would cost every grant a write more.
    fence         INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT NOT NULL,
    holder        TEXT NOT NULL,
    granted_at_ms INTEGER NOT NULL,
    ends_at_ms    INTEGER NOT NULL
  ) STRICT;
  -- The rest of what must outlive a restart, as JSON: 'memory' of the rules, 'override' of the operator.
  CREATE TABLE IF NOT EXISTS note (name TEXT PRIMARY KEY, json TEXT NOT NULL) STRICT, WITHOUT ROWID;
`;
