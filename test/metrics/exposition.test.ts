/** The two text formats, as their specifications say, and which of them a scraper gets. */
import { expect, test } from "vitest";
import { type Family, negotiate, render } from "../../src/metrics/exposition.ts";

const FAMILIES: Family[] = [
  {
    name: "a_bytes",
    type: "counter",
    unit: "bytes",
    help: 'Of a "kind".',
    samples: [{ labels: {}, value: 3 }],
  },
  {
    name: "b",
    type: "gauge",
    help: "Two\nlines.",
    samples: [{ labels: { x: 'a"b\\c\nd' }, value: 0.5 }],
  },
  { name: "c", type: "info", help: "C.", samples: [{ labels: { version: "1" }, value: 1 }] },
  {
    name: "d_seconds",
    type: "histogram",
    unit: "seconds",
    help: "D.",
    bounds: [0.1, 1],
    samples: [{ labels: { t: "u" }, counts: [2, 0, 1], sum: 7.25 }],
  },
  { name: "empty", type: "gauge", help: "Nothing.", samples: [] },
];

const HISTOGRAM = [
  'd_seconds_bucket{t="u",le="0.1"} 2',
  'd_seconds_bucket{t="u",le="1.0"} 2',
  'd_seconds_bucket{t="u",le="+Inf"} 3',
  'd_seconds_count{t="u"} 3',
  'd_seconds_sum{t="u"} 7.25',
];

test("OpenMetrics: suffixes are those of samples, units are said, and the end is marked", () => {
  expect(render(FAMILIES, "openmetrics").split("\n")).toEqual([
    "# TYPE a_bytes counter",
    "# UNIT a_bytes bytes",
    '# HELP a_bytes Of a \\"kind\\".',
    "a_bytes_total 3",
    "# TYPE b gauge",
    "# HELP b Two\\nlines.",
    'b{x="a\\"b\\\\c\\nd"} 0.5',
    "# TYPE c info",
    "# HELP c C.",
    'c_info{version="1"} 1',
    "# TYPE d_seconds histogram",
    "# UNIT d_seconds seconds",
    "# HELP d_seconds D.",
    ...HISTOGRAM,
    "# EOF",
    "",
  ]);
});

test("the text format 0.0.4: a family has the name of its samples, and information is a gauge", () => {
  expect(render(FAMILIES, "text").split("\n")).toEqual([
    "# TYPE a_bytes_total counter",
    '# HELP a_bytes_total Of a "kind".',
    "a_bytes_total 3",
    "# TYPE b gauge",
    "# HELP b Two\\nlines.",
    'b{x="a\\"b\\\\c\\nd"} 0.5',
    "# TYPE c_info gauge",
    "# HELP c_info C.",
    'c_info{version="1"} 1',
    "# TYPE d_seconds histogram",
    "# HELP d_seconds D.",
    ...HISTOGRAM,
    "",
  ]);
});

test.each([
  [undefined, "text"],
  ["*/*", "text"],
  ["text/plain;version=0.0.4", "text"],
  ["application/openmetrics-text", "openmetrics"],
  // Prometheus 2 and 3.
  [
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "openmetrics",
  ],
  ["application/openmetrics-text; q=0.4, text/plain; q=0.5", "text"],
  ["Application/OpenMetrics-Text; Q=0.5, text/plain; q=0.5", "openmetrics"],
  ["application/openmetrics-text;q=0, */*", "text"],
  ["application/openmetrics-text;q=much", "text"],
])("Accept: %s gets %s", (accept, format) => {
  expect(negotiate(accept)).toBe(format);
});
