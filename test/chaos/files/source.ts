/** What is uploaded: bytes that follow from the seed and a name, so that they can always be checked. */
import { createCipheriv, createHash } from "node:crypto";
import type { Random } from "../random.ts";

const MIB = 1024 * 1024;
const SIZES = [1_000_000, 25_000_000] as const;
/** Sizes near the ends of parts. */
const EDGES = [5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 10 * MIB, 15 * MIB];
const EDGE_SHARE = 0.2;

/** What a file must be. */
export interface Facts {
  /** The name of the file. */
  name: string;
  /** In bytes. */
  size: number;
  /** Hexadecimal. */
  sha256: string;
}

export interface Source extends Facts {
  bytes: Buffer;
}

export function makeSource(seed: number, name: string, random: Random): Source {
  const size = chooseSize(random);
  const key = createHash("md5").update(`${seed}/${name}`).digest();
  const bytes = createCipheriv("aes-128-ctr", key, Buffer.alloc(16)).update(Buffer.alloc(size));
  return { name, size, bytes, sha256: sha256(bytes) };
}

export const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** More small sizes than large ones. */
function chooseSize(random: Random): number {
  const edge = EDGES[random.between(0, EDGES.length - 1)];
  if (random.chance(EDGE_SHARE) && edge !== undefined) return edge;
  const [min, max] = SIZES;
  return min + Math.floor((max - min) * random.next() ** 2);
}
