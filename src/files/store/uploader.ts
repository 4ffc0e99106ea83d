/** Who uploads, and what that means for the file: its owner, and if it is somebody with a grant, the terms of it. */
import type { Bounds } from "../../kernel/bounds.ts";
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
  /** What the token is bound to, if it is. */
  bounds?: Bounds | undefined;
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

/** An id for a file of whoever uploads: unused, within their bounds, and, without a grant, in the shard of `sibling`. */
export const newIdFor = ({ terms, bounds }: Uploader, sibling?: string): string =>
  terms ? grantedFileId(terms) : newFileId(sibling, bounds?.filePrefix);

/** Throws a `Problem` 403 for an id of one's own choice that is beyond the bounds. */
export function checkChosenId({ bounds }: Uploader, id: string): void {
  if (bounds === undefined || id.startsWith(bounds.filePrefix)) return;
  throw new Problem("forbidden", `This token stores files whose ids begin with "${bounds.filePrefix}".`);
}

/** Throws a `Problem` 403 if a bound token names a task: what the task does is beyond its bounds. */
export function checkBoundTask({ bounds }: Uploader, task: string | undefined): void {
  if (bounds && task !== undefined)
    throw new Problem("forbidden", "This token is bound, and starts no tasks with an upload.");
}

export const notYours = (id: string): Problem =>
  new Problem(
    "forbidden",
    `The file ${id} is not of this token, so it cannot be replaced. Nothing was stored.`,
  );

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
