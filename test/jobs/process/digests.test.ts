import * as fc from "fast-check";
import { expect, test } from "vitest";
import {
  ALGORITHMS,
  type DigestStates,
  KeptDigests,
  PlatformDigests,
} from "../../../src/jobs/process/digests.ts";

function platformDigests(bytes: Uint8Array) {
  const digests = new PlatformDigests(ALGORITHMS);
  digests.update(bytes);
  return digests.digest();
}

const { BLOCK_BYTES } = KeptDigests;

/** With the states kept, as JSON, after each range. */
function keptDigests(bytes: Uint8Array, rangeBytes: number) {
  let states: DigestStates = {};
  let at = 0;
  for (; at + rangeBytes <= bytes.length; at += rangeBytes) {
    const digests = new KeptDigests(ALGORITHMS, states, at);
    digests.update(bytes.subarray(at, at + rangeBytes));
    states = JSON.parse(JSON.stringify(digests.save())) as DigestStates;
  }
  const digests = new KeptDigests(ALGORITHMS, states, at);
  const whole = at + Math.floor((bytes.length - at) / BLOCK_BYTES) * BLOCK_BYTES;
  digests.update(bytes.subarray(at, whole));
  return digests.digest(bytes.subarray(whole));
}

test("the digests of known text (RFC 1321 §A.5, RFC 3174 §7.3, FIPS 180-2, and the check value of CRC-32)", () => {
  expect(platformDigests(Buffer.from("abc"))).toEqual({
    md5: "900150983cd24fb0d6963f7d28e17f72",
    "sha-1": "a9993e364706816aba3e25717850c26c9cd0d89d",
    "sha-256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    "sha-512":
      "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a" +
      "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    crc32: "352441c2",
  });
  expect(platformDigests(Buffer.from("123456789")).crc32).toBe("cbf43926");
});

test("whatever the bytes, the kept digests are those of the platform", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 1_500 }), fc.integer({ min: 1, max: 3 }), (bytes, blocks) => {
      expect(keptDigests(bytes, blocks * BLOCK_BYTES)).toEqual(platformDigests(bytes));
    }),
  );
});

test("at each length around a block", () => {
  const bytes = new Uint8Array(300).map((_, i) => i * 7);
  for (let length = 0; length <= 300; length++)
    expect(keptDigests(bytes.subarray(0, length), BLOCK_BYTES)).toEqual(
      platformDigests(bytes.subarray(0, length)),
    );
});
