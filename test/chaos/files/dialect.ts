/** The two protocols of /uploads, as far as our own client speaks them. */
import { createHash } from "node:crypto";
import { headerOf, type WireResponse } from "./wire.ts";

export type Headers = Record<string, string | number>;

export interface Dialect {
  create(name: string, length: number): Headers;
  /** Headers for bytes from `offset` on. */
  append(offset: number, isLast: boolean): Headers;
  checksum(bytes: Buffer): Headers;
  /** Headers for HEAD and DELETE. */
  look: Headers;
  isComplete(response: WireResponse): boolean;
}

const digest = (algorithm: string, bytes: Buffer) => createHash(algorithm).update(bytes).digest("base64");

const TUS = { "Tus-Resumable": "1.0.0" };
const DRAFT = { "Upload-Draft-Interop-Version": "8" };

export const tus: Dialect = {
  create: (name, length) => ({
    ...TUS,
    "Upload-Length": length,
    "Upload-Metadata": `filename ${Buffer.from(name).toString("base64")}`,
  }),
  append: (offset) => ({
    ...TUS,
    "Content-Type": "application/offset+octet-stream",
    "Upload-Offset": offset,
  }),
  checksum: (bytes) => ({ "Upload-Checksum": `sha1 ${digest("sha1", bytes)}` }),
  look: TUS,
  isComplete: (response) =>
    headerOf(response, "Upload-Offset") !== undefined &&
    headerOf(response, "Upload-Offset") === headerOf(response, "Upload-Length"),
};

export const draft: Dialect = {
  create: (name, length) => ({
    ...DRAFT,
    "Upload-Complete": "?0",
    "Upload-Length": length,
    "Content-Disposition": `attachment; filename="${name}"`,
  }),
  append: (offset, isLast) => ({
    ...DRAFT,
    "Content-Type": "application/partial-upload",
    "Upload-Offset": offset,
    "Upload-Complete": isLast ? "?1" : "?0",
  }),
  checksum: (bytes) => ({ "Content-Digest": `sha-256=:${digest("sha256", bytes)}:` }),
  look: DRAFT,
  isComplete: (response) => headerOf(response, "Upload-Complete") === "?1",
};
