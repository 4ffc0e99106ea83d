/** W3C Trace Context: which `traceparent` is one, and what is made of it. */
import { expect, test } from "vitest";
import { childOf, formatTraceparent, newTrace, parseTraceparent } from "../../src/kernel/trace.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN = "00f067aa0ba902b7";

test.each([
  [`00-${TRACE}-${SPAN}-01`, true],
  [`00-${TRACE}-${SPAN}-00`, false],
  // Only the last bit says whether it is sampled.
  [`00-${TRACE}-${SPAN}-03`, true],
  [`00-${TRACE}-${SPAN}-fe`, false],
  [`  00-${TRACE}-${SPAN}-01 `, true],
  // A later version, of which only this part is known.
  [`cc-${TRACE}-${SPAN}-01`, true],
  [`cc-${TRACE}-${SPAN}-01-what-the-future-will-be-like`, true],
])("%s is one", (text, isSampled) => {
  expect(parseTraceparent(text)).toEqual({ traceId: TRACE, spanId: SPAN, isSampled });
});

test.each([
  undefined,
  null,
  "",
  "00",
  `00-${TRACE}-${SPAN}`,
  `00-${TRACE}-${SPAN}-1`,
  `00-${TRACE}-${SPAN}-01-more`,
  `ff-${TRACE}-${SPAN}-01`,
  `00-${"0".repeat(32)}-${SPAN}-01`,
  `00-${TRACE}-${"0".repeat(16)}-01`,
  `00-${TRACE.toUpperCase()}-${SPAN}-01`,
  `00-${TRACE}x-${SPAN}-01`,
  `cc-${TRACE}-${SPAN}-01.more`,
  `00-${TRACE}-${SPAN}-01, 00-${TRACE}-${SPAN}-01`,
])("%s is none", (text) => {
  expect(parseTraceparent(text)).toBeUndefined();
});

test("what is written is read again, and a child has the trace and a span of its own", () => {
  const trace = newTrace();
  const child = childOf(trace);
  expect(parseTraceparent(formatTraceparent(trace))).toEqual(trace);
  expect(parseTraceparent(formatTraceparent({ ...child, isSampled: false }))).toEqual({
    ...child,
    isSampled: false,
  });
  expect([child.traceId, child.spanId === trace.spanId]).toEqual([trace.traceId, false]);
});
