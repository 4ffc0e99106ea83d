import { addColumns } from "../../kernel/schema.ts";

/** A lease as SQLite stores it; times are ms since the epoch. */
export interface LeaseRow {
  [column: string]: SqlStorageValue;
  id: string;
  fence: number;
  holder: string;
  granted_at_ms: number;
  ends_at_ms: number;
  hand_overs: number;
  limit_key: string | null;
  weight: number;
}

const CREATE_TABLES = `
  CREATE TABLE IF NOT EXISTS lease (
    -- AUTOINCREMENT never reuses a number, even after the table has been empty. The fence is that number.
    -- Rows are found by it; an index on the id would add a row write to every grant.
    fence         INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT NOT NULL,
    holder        TEXT NOT NULL,
    granted_at_ms INTEGER NOT NULL,
    ends_at_ms    INTEGER NOT NULL
  ) STRICT;
  -- What else must survive a restart, as JSON: 'permits', the state of the rules, and 'override', the operator's.
  CREATE TABLE IF NOT EXISTS note (name TEXT PRIMARY KEY, json TEXT NOT NULL) STRICT, WITHOUT ROWID;
`;

/** Only ever append: see kernel/schema.ts. */
export const MIGRATIONS = [
  CREATE_TABLES,
  // Older code leaves it as it is: a permit that is handed on while it runs keeps to what it was.
  addColumns("lease", { hand_overs: "INTEGER NOT NULL DEFAULT 0" }),
  // Older code takes each of them for one permit of no key.
  addColumns("lease", { limit_key: "TEXT", weight: "INTEGER NOT NULL DEFAULT 1" }),
];
