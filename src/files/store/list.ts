/** `GET /files`: the files of all shards in one order, page by page. */
import { Problem } from "../../kernel/problem.ts";
import { fileIdSchema } from "./names.ts";
import { type FileRow, toFile } from "./schema.ts";
import { CATALOGUES, callCatalogue, catalogueNamed } from "./shards.ts";

interface PageRequest {
  prefix: string;
  /** Only files that were made from the file with this id. */
  source: string | undefined;
  limit: number;
  /** `next` of the previous page. */
  cursor: string | undefined;
  /** Any URL of this Worker. */
  base: string;
}

/**
 * The cursor names the last file of its page. So pages neither repeat nor miss a file that exists all the while,
 * whatever else comes and goes. Throws a `Problem` 422 for a cursor that this function did not return.
 */
export async function listFiles(env: Env, { prefix, source, limit, cursor, base }: PageRequest) {
  const after = cursor === undefined ? "" : readCursor(cursor);
  // One more than the page, to see whether there is another page.
  const shards = await Promise.all(
    CATALOGUES.map(
      async (name): Promise<FileRow[]> =>
        callCatalogue(async () => {
          const catalogue = catalogueNamed(env, name);
          return source === undefined
            ? catalogue.list(prefix, after, limit + 1)
            : catalogue.listMadeFrom(source, prefix, after, limit + 1);
        }),
    ),
  );
  // By code units, as SQLite does: ids are ASCII.
  const rows = shards.flat().toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const page = rows.slice(0, limit);
  const last = page.at(-1);
  const next = rows.length > limit && last ? cursorOf(last.id) : null;
  return { files: page.map((row) => toFile(row, base)), next };
}

const cursorOf = (id: string): string => Buffer.from(id).toString("base64url");

function readCursor(cursor: string): string {
  const id = Buffer.from(cursor, "base64url").toString();
  // Encoded again, because decoding skips what is not base64.
  if (fileIdSchema.safeParse(id).success && cursorOf(id) === cursor) return id;
  const detail = "The cursor is not the `next` of any page.";
  throw new Problem("invalid", detail, { errors: [{ at: "query/cursor", detail }] });
}
