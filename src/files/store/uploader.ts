/** Who uploads, and what that means for the file: its owner, and if it is somebody with a grant, the terms of it. */
import { Problem } from "../../kernel/problem.ts";
import type { GrantRef, GrantRefusal } from "./grant-use.ts";
import type { UploadQuery } from "./schema.ts";
import { newFileId } from "./shards.ts";

/** What a grant allows, and what becomes of the files. */
export interface GrantTerms extends GrantRef {
  name: string | null;
  /** Of each file. */
  maxBytes: number;
  /** Such as `image/png` or `image/*`; empty: any. */
  contentTypes: string[];
  /** What the ids of the files begin with. */
  prefix: string;
  /** A task to start with each file. */
  task: string | null;
  metadata: Record<string, string> | null;
}

export interface Uploader {
  /** The name of a token; of one with a grant, `grant:` and the name or id of that. */
  owner: string;
  terms: GrantTerms | null;
}

/** What is kept of it until the file is stored. */
export interface Origin {
  owner: string;
  metadata: Record<string, string> | null;
  grant: GrantRef | null;
}

export function originOf({ owner, terms }: Uploader): Origin {
  const grant = terms && { id: terms.id, files: terms.files, expiresAtMs: terms.expiresAtMs };
  return { owner, metadata: terms?.metadata ?? null, grant };
}

/** The columns of a file. */
export const originColumns = (origin: Pick<Origin, "owner" | "metadata"> | null | undefined) => ({
  owner: origin?.owner ?? null,
  metadata: origin?.metadata ? JSON.stringify(origin.metadata) : null,
});

/** An id for a file of the grant: unused, and in the shard that counts for it. */
export const grantedFileId = ({ id, prefix }: GrantTerms): string => newFileId(id, prefix);

/** What becomes of the file is said by the grant alone. Throws a `Problem` 403 if its holder says it too. */
export function grantedQuery(terms: GrantTerms, sent: Record<string, string | undefined>): UploadQuery {
  const own = ["task", "expires_in"].find((name) => sent[name] !== undefined);
  if (own === undefined) return terms.task === null ? {} : { task: terms.task };
  throw new Problem("forbidden", `With a grant, an upload has no ${own} of its own.`);
}

export const grantRefused = (refusal: GrantRefusal): Problem =>
  refusal === "revoked"
    ? new Problem("forbidden", "This grant has been revoked. Nothing was stored.")
    : new Problem(
        "conflict",
        "This grant is used up: as many files as it allows are stored or on their way.",
      );
