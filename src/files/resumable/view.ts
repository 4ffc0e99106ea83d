/** An upload session, as the rest of Sluice sees it: how it is begun, how far it is, how a request to it has ended. */
import type { SessionRecord, UploadSpec } from "./record.ts";
import type { BodyEndRefusal } from "./rules.ts";

/** An upload, as seen from outside. */
export type Snapshot = Omit<UploadSpec, "expected" | "sources"> &
  Pick<SessionRecord, "offset" | "phase" | "expiresAtMs" | "sha256" | "blob" | "taskId">;

export type Outcome =
  /** `taskFailed`: it is complete, but its task could not be started yet. */
  | { is: "taken"; now: Snapshot; taskFailed?: true }
  | { is: "refused"; why: BodyEndRefusal | "wrong-checksum"; now: Snapshot }
  /** The whole is not what it should be; the upload and all its bytes are gone. */
  | { is: "wrong-digest"; header: string };

/** Field by field: what a caller must not know, or cannot be sent, stays here. */
export function toSnapshot(record: SessionRecord): Snapshot {
  const { id, kind, phase, offset, length, endsAtLength, filename, contentType, expiresIn } = record;
  const { task, metadata, concat, expiresAtMs, sha256, blob, taskId } = record;
  return {
    id,
    kind,
    phase,
    offset,
    length,
    endsAtLength,
    filename,
    contentType,
    expiresIn,
    task,
    metadata,
    concat,
    expiresAtMs,
    sha256,
    blob,
    taskId,
  };
}
