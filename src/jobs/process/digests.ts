/**
 * Several digests of one stream, in one pass.
 *
 * The platform's own hashes are five to twenty times as fast as those in JavaScript, but their state cannot be kept. So
 * a file that one run can hash is hashed by the platform, and a longer one in JavaScript, in ranges, with the states kept
 * between them. Both give the same digests.
 */
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { SHA256 } from "@stablelib/sha256";
import { SHA512 } from "@stablelib/sha512";
import { BlockHash, MD5, SHA1 } from "./block-hash.ts";

export const ALGORITHMS = ["md5", "sha-1", "sha-256", "sha-512", "crc32"] as const;
export type Algorithm = (typeof ALGORITHMS)[number];

/** Hexadecimal; of the algorithms that were asked for. */
export type DigestsInHex = Partial<Record<Algorithm, string>>;

interface Hash {
  update(bytes: Uint8Array): void;
  digest(): string;
}

/** A hash that takes whole blocks before its last bytes. */
interface KeptHash {
  update(blocks: Uint8Array): void;
  save(): number[];
  digest(rest: Uint8Array): string;
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const crcHex = (crc: number) => crc.toString(16).padStart(8, "0");

/** The digests that the platform computes, in one run. */
export class PlatformDigests {
  readonly #hashes: [Algorithm, Hash][];

  constructor(algorithms: readonly Algorithm[]) {
    this.#hashes = algorithms.map((name) => [name, name === "crc32" ? crcHash() : nodeHash(name)]);
  }

  update(bytes: Uint8Array): void {
    for (const [, hash] of this.#hashes) hash.update(bytes);
  }

  digest(): DigestsInHex {
    return Object.fromEntries(this.#hashes.map(([name, hash]) => [name, hash.digest()]));
  }
}

function nodeHash(name: Exclude<Algorithm, "crc32">): Hash {
  const hash = createHash(name.replace("-", ""));
  return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest("hex") };
}

function crcHash(): Hash {
  let crc = 0;
  return {
    update: (bytes) => {
      crc = crc32(bytes, crc);
    },
    digest: () => crcHex(crc),
  };
}

/** JSON: for each algorithm the words of its state. */
export type DigestStates = Partial<Record<Algorithm, number[]>>;

/** The digests in JavaScript, which can be kept. */
export class KeptDigests {
  /** The states can be kept after a multiple of this many bytes: the longest block of all algorithms. */
  static readonly BLOCK_BYTES = 128;
  readonly #hashes: [Algorithm, KeptHash][];

  /** `states`: what `save` returned after `bytesHashed` bytes. */
  constructor(algorithms: readonly Algorithm[], states: DigestStates = {}, bytesHashed = 0) {
    this.#hashes = algorithms.map((name) => [name, KEPT[name](states[name], bytesHashed)]);
  }

  /** `blocks`: a multiple of 128 bytes. */
  update(blocks: Uint8Array): void {
    for (const [, hash] of this.#hashes) hash.update(blocks);
  }

  save(): DigestStates {
    return Object.fromEntries(this.#hashes.map(([name, hash]) => [name, hash.save()]));
  }

  /** Hashes the last bytes, fewer than 128, and ends. */
  digest(rest: Uint8Array): DigestsInHex {
    return Object.fromEntries(this.#hashes.map(([name, hash]) => [name, hash.digest(rest)]));
  }
}

const KEPT: Record<Algorithm, (state: number[] | undefined, bytesHashed: number) => KeptHash> = {
  md5: (state, bytesHashed) => blockHash(new BlockHash(MD5, state, bytesHashed)),
  "sha-1": (state, bytesHashed) => blockHash(new BlockHash(SHA1, state, bytesHashed)),
  "sha-256": (words, bytesHashed) => {
    const hash = new SHA256();
    if (words)
      hash.restoreState({ state: Int32Array.from(words), buffer: undefined, bufferLength: 0, bytesHashed });
    return {
      update: (blocks) => void hash.update(blocks),
      save: () => Array.from(hash.saveState().state),
      digest: (rest) => hex(hash.update(rest).digest()),
    };
  },
  "sha-512": (words, bytesHashed) => {
    const hash = new SHA512();
    if (words)
      hash.restoreState({
        stateHi: Int32Array.from(words.slice(0, 8)),
        stateLo: Int32Array.from(words.slice(8)),
        buffer: undefined,
        bufferLength: 0,
        bytesHashed,
      });
    return {
      update: (blocks) => void hash.update(blocks),
      save: () => {
        const { stateHi, stateLo } = hash.saveState();
        return [...stateHi, ...stateLo];
      },
      digest: (rest) => hex(hash.update(rest).digest()),
    };
  },
  crc32: ([kept] = [0]) => {
    let crc = kept ?? 0;
    return {
      update: (blocks) => {
        crc = crc32(blocks, crc);
      },
      save: () => [crc],
      digest: (rest) => crcHex(crc32(rest, crc)),
    };
  },
};

function blockHash(hash: BlockHash): KeptHash {
  const digest = (rest: Uint8Array) => {
    const blocks = rest.subarray(0, rest.length - (rest.length % 64));
    hash.update(blocks);
    return hex(hash.digest(rest.subarray(blocks.length)));
  };
  return { update: (blocks) => hash.update(blocks), save: () => hash.state, digest };
}
