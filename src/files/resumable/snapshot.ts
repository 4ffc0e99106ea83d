/** An upload session as the rest of Sluice sees it: its state, and how a request to it ended. */

import type { Excess } from "../../kernel/quotas.ts";
import type { GrantRefusal } from "../store/grant-use.ts";
import type { AppendRejection } from "./append-rules.ts";
import { isWaiting } from "./pieces.ts";
import type { SessionRecord, UploadSpec } from "./session-storage.ts";

/** The state of an upload, for those who render it. */
export type Snapshot = Omit<
  UploadSpec,
  "expected" | "sources" | "source" | "sourceTask" | "origin" | "byteLimits" | "fitsBy" | "maxBytes" | "check"
> &
  Pick<SessionRecord, "offset" | "phase" | "expiresAtMs" | "sha256" | "blob" | "taskId"> & {
    /** A final upload whose partials are not all complete. */
    isWaiting: boolean;
    /** The id of the grant with which it was created. Missing without one. */
    grantId?: string;
    /** Who uploads it. Missing in a draft, and in uploads that began with an earlier version. */
    owner?: string;
  };

export type Outcome =
  /** `taskFailed`: the upload is complete, but its task could not be started yet. */
  | { is: "accepted"; upload: Snapshot; taskFailed?: true }
  | { is: "rejected"; reason: AppendRejection; upload: Snapshot; isEmpty: boolean }
  /** The bytes of this request do not match the digest in `header`; none of them is kept. */
  | { is: "wrong-chunk"; header: string; upload: Snapshot }
  /** The whole does not match its digest; the upload and all its bytes are gone. */
  | { is: "wrong-digest"; header: string }
  /** The bytes are not of the type that they must be of; the upload and all its bytes are gone. */
  | { is: "unfit"; why: string; by: string }
  /** The grant does not allow the file, or no longer; the upload and all its bytes are gone. */
  | { is: "refused"; refusal: GrantRefusal }
  /** A quota of stored bytes has no room for more. What was acknowledged before stays, unless the upload is a new or a final one. */
  | { is: "over-quota"; excess: Excess };

/** What a protocol renders: both refuse alike what a grant, a rule or a quota does not allow. */
export type ProtocolOutcome = Exclude<Outcome, { is: "refused" | "unfit" | "over-quota" }>;

/** `gone`: there is no such partial upload, or no longer; the final upload has ended. */
export type FinalOutcome = Outcome | { is: "gone"; source: string };

/** Copies field by field: what callers must not see, or what RPC cannot send, stays behind. */
export function toSnapshot(record: SessionRecord): Snapshot {
  const { id, protocol, kind, phase, offset, length, endsAtLength, filename, contentType, expiresIn } =
    record;
  const { task, metadata, concat, expiresAtMs, sha256, blob, taskId, origin } = record;
  return {
    id,
    protocol,
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
    isWaiting: isWaiting(record),
    ...(origin?.grant ? { grantId: origin.grant.id } : {}),
    ...(origin ? { owner: origin.owner } : {}),
  };
}
