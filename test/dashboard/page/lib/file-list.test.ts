/** A page of files that follows what happens is what a new reading would show. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type FilePage, withChanges } from "../../../../src/dashboard/page/lib/file-list.ts";
import type { FileLine } from "../../../../src/dashboard/page/lib/types.ts";

const LIMIT = 4;

const line = (id: string, size = 1): FileLine => ({
  id,
  filename: id,
  size,
  contentType: "text/plain",
  sha256: "",
  etag: "",
  modifiedAt: "",
  expiresAt: null,
  source: null,
  sourceTask: null,
  owner: null,
});

/** As `GET /files` answers: those after `after`. */
function read(stored: ReadonlyMap<string, FileLine>, prefix: string, after: string): FilePage {
  const matching = [...stored.values()]
    .filter(({ id }) => id.startsWith(prefix) && id > after)
    .toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const files = matching.slice(0, LIMIT);
  return { files, next: matching.length > LIMIT ? (files.at(-1)?.id ?? null) : null };
}

const id = fc.integer({ min: 0, max: 30 }).map((n) => n.toString(36).padStart(2, "0"));
const prefix = fc.constantFrom("", "0", "01");

describe("a page of files", () => {
  test("follows what happens as if it were read again, or says that it must be", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(id, { maxLength: 12 }),
        fc.array(fc.tuple(id, fc.constantFrom("put", "remove")), { maxLength: 6 }),
        prefix,
        (before, actions, wanted) => {
          const stored = new Map(before.map((one) => [one, line(one)]));
          const page = read(stored, wanted, "");
          for (const [one, action] of actions)
            if (action === "put") stored.set(one, line(one, 2));
            else stored.delete(one);
          const touched = [...new Set(actions.map(([one]) => one))];
          const changes = {
            files: touched.flatMap((one) => stored.get(one) ?? []),
            removed: touched.filter((one) => !stored.has(one)),
          };
          const after = withChanges(page, changes, { prefix: wanted, limit: LIMIT, isFirst: true });
          // That no page follows any longer shows when it is asked for.
          if (after !== "read") expect(after.files).toEqual(read(stored, wanted, "").files);
        },
      ),
    );
  });

  const page: FilePage = { files: ["b", "d"].map((one) => line(one)), next: null };
  const put = (one: string) => ({ files: [line(one, 2)], removed: [] });
  const filter = { prefix: "", limit: LIMIT, isFirst: true };

  test("has a change of a file at once", () => {
    const after = withChanges(page, put("b"), filter);
    expect(after).toEqual({ files: [line("b", 2), line("d")], next: null });
  });

  test("that is not the first has none from before it", () => {
    expect(withChanges(page, put("a"), { ...filter, isFirst: false })).toEqual(page);
    expect(withChanges(page, put("c"), { ...filter, isFirst: false })).not.toEqual(page);
  });

  test("is read again when it gets too long, and when it gets shorter and others follow", () => {
    expect(withChanges(page, put("c"), { ...filter, limit: 2 })).toBe("read");
    const removal = { files: [], removed: ["b"] };
    expect(withChanges({ ...page, next: "x" }, removal, filter)).toBe("read");
    expect(withChanges(page, removal, filter)).toEqual({ files: [line("d")], next: null });
  });
});
