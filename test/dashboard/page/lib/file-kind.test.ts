import { expect, test } from "vitest";
import { kindOf } from "../../../../src/dashboard/page/lib/file-kind.ts";

test.each([
  ["image/png", "image"],
  ["image/svg+xml", "text"],
  ["Text/CSV; charset=utf-8", "csv"],
  ["text/html", "text"],
  ["application/json", "text"],
  ["application/x-ndjson", "text"],
  ["application/vnd.api+json", "text"],
  ["application/pdf", "pdf"],
  ["audio/mpeg", "audio"],
  ["video/mp4", "video"],
  ["application/octet-stream", "none"],
  ["", "none"],
])("%s is previewed as %s", (contentType, kind) => {
  expect(kindOf(contentType)).toBe(kind);
});
