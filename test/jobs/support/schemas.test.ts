import { expect, test } from "vitest";
import { fileId, upstreamName } from "../../../src/jobs/support/schemas.ts";

test.each([
  ["report.csv", true],
  [".htaccess", false],
  ["a/b", false],
  ["", false],
])("the id of a file may be %j: %s", (id, isAccepted) => {
  expect(fileId.safeParse(id).success).toBe(isAccepted);
});

test.each(["demo", "scripted"])("the upstream %j is configured", (name) => {
  expect(upstreamName.safeParse(name).success).toBe(true);
});

test.each(["other", "", "constructor"])(
  "the upstream %j is not, and the error names those that are",
  (name) => {
    const { error } = upstreamName.safeParse(name);
    expect(error?.issues[0]?.message).toMatch(/^there is no upstream of this name; .*\bdemo\b/);
  },
);
