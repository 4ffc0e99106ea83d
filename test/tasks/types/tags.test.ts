/** Which tags a task may have. */
import { expect, test } from "vitest";
import { keptTags, tagsSchema } from "../../../src/tasks/types/tags.ts";

test.each([
  [["a"]],
  [["customer:42", "order/17", "v1.2", "a_b-c", "x@y", "k=v", "1+1"]],
  [["a".repeat(64)]],
  [Array.from({ length: 10 }, (_, n) => `t${n}`)],
  [[]],
  [undefined],
])("%j are tags", (tags) => {
  expect(tagsSchema.parse(tags)).toEqual(tags);
});

test.each([
  ["empty", [""]],
  ["too long", ["a".repeat(65)]],
  ["a comma, which separates the tags of a filter", ["a,b"]],
  ["a space", ["a b"]],
  ["no ASCII", ["größe"]],
  ["a line's end", ["a\n"]],
  ["no text", [1]],
  ["no array", "a"],
  ["eleven", Array.from({ length: 11 }, (_, n) => `t${n}`)],
])("no tags: %s", (_, tags) => {
  expect(tagsSchema.safeParse(tags).success).toBe(false);
});

test("a tag that is given twice is one tag, and no tags are kept as nothing", () => {
  expect(keptTags(tagsSchema.parse(["b", "a", "b"]))).toEqual({ tags: '["b","a"]' });
  expect([keptTags([]), keptTags(undefined)]).toEqual([{}, {}]);
});
