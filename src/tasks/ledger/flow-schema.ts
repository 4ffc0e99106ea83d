/** The tables of flows, and what callers see of them. Tasks without parent and children have no rows here. */
import { z } from "zod";
import { type FinalStatus, TASK_STATUSES } from "./task-state.ts";

/** A child, on the shard of its parent. */
export type ChildRow = {
  parent_id: string;
  id: string;
  /** In the order in which they were started. */
  number: number;
  type: string;
  /** The life of the parent that waits for its end. */
  life: number;
  /** How it has ended; null until the parent knows. */
  status: FinalStatus | null;
  /** JSON text of a `ChildEnd`. */
  outcome: string | null;
  /** The children of a parent in the order of their ends. */
  ended: number | null;
};

/** What a child knows of its parent, on its own shard. */
export type ParentRow = {
  task_id: string;
  parent_id: string;
  /** How many tasks are above it. */
  depth: number;
  life: number;
  /** 1: its end, if it has ended, is told or on its way. */
  is_told: number;
};

export const CREATE_FLOWS = `
  CREATE TABLE IF NOT EXISTS child (
    parent_id TEXT NOT NULL,
    id        TEXT NOT NULL,
    number    INTEGER NOT NULL,
    type      TEXT NOT NULL,
    life      INTEGER NOT NULL,
    status    TEXT,
    outcome   TEXT,
    ended     INTEGER,
    PRIMARY KEY (parent_id, id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS child_open ON child (parent_id) WHERE status IS NULL;
  CREATE TABLE IF NOT EXISTS parent (
    task_id   TEXT PRIMARY KEY,
    parent_id TEXT NOT NULL,
    depth     INTEGER NOT NULL,
    life      INTEGER NOT NULL,
    is_told   INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS parent_untold ON parent (task_id) WHERE is_told = 0;
  CREATE TABLE IF NOT EXISTS flow_message (
    id        TEXT PRIMARY KEY,
    message   TEXT NOT NULL,
    tries     INTEGER NOT NULL,
    due_at_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
`;

export const parentSchema = z
  .string()
  .optional()
  .meta({ description: "The task that started it as its child." });

export const childrenSchema = z
  .array(z.object({ id: z.string(), type: z.string(), status: z.enum(TASK_STATUSES) }))
  .optional()
  .meta({ description: "The tasks that it started as its children, in their order (`ctx.startTasks`)." });

/** The tree around a task. The status of a child that is not known here is null. */
export interface FlowView {
  parent?: string;
  children?: { id: string; type: string; status: (typeof TASK_STATUSES)[number] | null }[];
}
