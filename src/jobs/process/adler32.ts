/** The checksum of zlib's format (RFC 1950 §9). */

const BASE = 65_521;
/** So many bytes can be summed before the sums outgrow 32 bits. */
const BYTES_AT_ONCE = 5_552;

/** `before`: the checksum of the bytes before these; 1 if there are none. */
export function adler32(bytes: Uint8Array, before = 1): number {
  let a = before & 0xffff;
  let b = before >>> 16;
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(at + BYTES_AT_ONCE, bytes.length);
    while (at < end) {
      a += bytes[at++] ?? 0;
      b += a;
    }
    a %= BASE;
    b %= BASE;
  }
  return ((b << 16) | a) >>> 0;
}
