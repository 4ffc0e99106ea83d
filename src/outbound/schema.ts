/** Leases as SQLite keeps them; times are ms since the epoch. */
export interface LeaseRow {
  [column: string]: SqlStorageValue;
  id: string;
  fence: number;
  granted_at_ms: number;
  ends_at_ms: number;
}

export const CREATE_TABLES = `
  CREATE TABLE IF NOT EXISTS lease (
    -- AUTOINCREMENT never gives a number twice, not even when the table has become empty: the next fence.
    fence         INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT NOT NULL UNIQUE,
    granted_at_ms INTEGER NOT NULL,
    ends_at_ms    INTEGER NOT NULL
  ) STRICT;
`;
