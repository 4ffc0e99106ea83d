import { expect, test } from "vitest";
import { nextLink } from "../../../src/jobs/scrape/link-header.ts";

test.each<[string | null, string | undefined]>([
  [null, undefined],
  ["", undefined],
  ['</items?page=2>; rel="next"', "/items?page=2"],
  ["</a>;rel=next", "/a"],
  ['</a>; rel="prev", </b>; rel="next"', "/b"],
  ['</a?x=1,2>; rel="last", </b,c>; rel=next', "/b,c"],
  ['</a>; title="a, b; rel=next", </b>; REL="Prev  NEXT"', "/b"],
  ['</a>; title="say \\"next\\""; rel="next"', "/a"],
  ['</a>; rel="prev"; rel="next"', undefined],
  ['</a>; anchor="/elsewhere"; rel="next", </b>; rel=next', "/b"],
  ["</a>; rel=nextish", undefined],
  ["</a", undefined],
  ["rel=next", undefined],
  ["<>; rel=next", ""],
])("of %j the next page is %j", (header, target) => {
  expect(nextLink(header)).toBe(target);
});
