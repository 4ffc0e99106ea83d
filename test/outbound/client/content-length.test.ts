/** What a Content-Length says, and when it says nothing. */
import { expect, test } from "vitest";
import { contentLength } from "../../../src/outbound/client/content-length.ts";

test.each<[string | undefined, number | undefined]>([
  ["0", 0],
  ["5", 5],
  ["5, 5", 5],
  ["5,5 ,5", 5],
  ["00005", 5],
  [undefined, undefined],
  ["", undefined],
  ["5, 6", undefined],
  ["5,", undefined],
  ["-5", undefined],
  ["+5", undefined],
  ["5.0", undefined],
  ["0x5", undefined],
  ["5e3", undefined],
  ["five", undefined],
])("%j is %s", (value, length) => {
  const headers = new Headers(value === undefined ? {} : { "Content-Length": value });
  expect(contentLength(headers)).toBe(length);
  headers.set("Transfer-Encoding", "chunked");
  expect(contentLength(headers)).toBeUndefined();
});
