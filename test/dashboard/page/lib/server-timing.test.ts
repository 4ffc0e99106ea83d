import { expect, test } from "vitest";
import { readServerTiming } from "../../../../src/dashboard/page/lib/server-timing.ts";

test.each([
  [
    "queue;dur=19, upstream;dur=204",
    [
      ["queue", 19, ""],
      ["upstream", 204, ""],
    ],
  ],
  ['upstream;dur=3.5;desc="3 tries"', [["upstream", 3.5, "3 tries"]]],
  [
    'a;desc="x, \\"y\\"; dur=9";DUR=1, b ; dur = 2',
    [
      ["a", 1, 'x, "y"; dur=9'],
      ["b", 2, ""],
    ],
  ],
  ["hit, queue;dur=x, ;dur=3, late;dur=-1", []],
  ["", []],
] as const)("%s", (header, spans) => {
  expect(readServerTiming(header)).toEqual(
    spans.map(([name, ms, description]) => ({ name, ms, description })),
  );
});
