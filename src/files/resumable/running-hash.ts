/**
 * The sha256 over all bytes of an upload so far. Its state is stored with the upload and goes on in the next request.
 *
 * The state is that of the library, so another version of the library may have another one. It carries a version, and a
 * state of a version that is not known is an error: read wrongly, it would make a wrong sha256 of right bytes.
 */
import { type SavedState, SHA256 } from "@stablelib/sha256";

/** A state as @stablelib/sha256 2 saves it. Another format must get another number. */
const HASH_VERSION = 1;

export interface StoredHash {
  /** Null for an upload whose bytes are not hashed. */
  hash: SavedState | null;
  /** Missing in records of 0.1.0, which have version 1. */
  hashVersion?: number;
}

/** Throws an `Error` if the state is one of a later version: then only code of that version can go on. */
export function restoreHash({ hash, hashVersion = HASH_VERSION }: StoredHash): SHA256 | null {
  if (hash === null) return null;
  if (hashVersion === HASH_VERSION) return new SHA256().restoreState(hash);
  throw new Error(
    `The hash of this upload has version ${hashVersion}, and this release of Sluice reads ${HASH_VERSION}: ` +
      "deploy the release that began the upload.",
  );
}

export const saveHash = (hash: SHA256 | null): Required<StoredHash> => ({
  hash: hash && hash.saveState(),
  hashVersion: HASH_VERSION,
});
