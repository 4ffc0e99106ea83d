/** The tables of waits and signals, and what callers see of them. Tasks that wait for nothing have no rows here. */
import { z } from "zod";

/** A wait that has not ended. */
export type WaitRow = {
  task_id: string;
  key: string;
  /** The waits of a task in the order in which they began. */
  number: number;
  /** Of the signal. */
  name: string;
  until_ms: number;
  /** The token of the run that has parked the task for it. */
  parked_token: number | null;
};

/** A signal, also one that was received: so a repeat of it is noticed as long as there is the task. */
export type SignalRow = {
  task_id: string;
  /** The same for each repeat of it. */
  id: string;
  number: number;
  name: string;
  /** JSON text; null once it was received. */
  payload: string | null;
  bytes: number;
  /** Tells one request with an Idempotency-Key from another. */
  fingerprint: string | null;
  at_ms: number;
};

export const CREATE_WAITS = `
  CREATE TABLE IF NOT EXISTS wait (
    task_id      TEXT NOT NULL,
    key          TEXT NOT NULL,
    number       INTEGER NOT NULL,
    name         TEXT NOT NULL,
    until_ms     INTEGER NOT NULL,
    parked_token INTEGER,
    PRIMARY KEY (task_id, key)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS signal (
    task_id     TEXT NOT NULL,
    id          TEXT NOT NULL,
    number      INTEGER NOT NULL,
    name        TEXT NOT NULL,
    payload     TEXT,
    bytes       INTEGER NOT NULL,
    fingerprint TEXT,
    at_ms       INTEGER NOT NULL,
    PRIMARY KEY (task_id, id)
  ) STRICT, WITHOUT ROWID;
`;

/** What a parked task waits for. */
export const waitingForSchema = z
  .array(z.object({ signal: z.string(), until: z.iso.datetime() }))
  .optional()
  .meta({
    description:
      "While the task is scheduled because it waits (`ctx.waitFor`): the signals that wake it, and when it no longer " +
      "waits for each.",
  });

export type WaitingFor = NonNullable<z.output<typeof waitingForSchema>>;
