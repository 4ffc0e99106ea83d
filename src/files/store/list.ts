/** `GET /files`: the files of all shards in one order, page by page. */
import { type Bounds, isWithin, narrowPrefix } from "../../kernel/bounds.ts";
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
  /** Only files within them. */
  bounds: Bounds | undefined;
}

/**
 * The cursor names the last file of its page. So pages neither repeat nor miss a file that exists all the while,
 * whatever else comes and goes. Throws a `Problem` 422 for a cursor that this function did not return.
 */
export async function listFiles(
  env: Env,
  { prefix: wanted, source, limit, cursor, base, bounds }: PageRequest,
) {
  const after = cursor === undefined ? "" : readCursor(cursor);
  const prefix = narrowPrefix(bounds, wanted);
  if (prefix === undefined || !isShown(bounds, source)) return { files: [], next: null };
  const owner = bounds?.owner ?? null;
  // One more than the page, to see whether there is another page.
  const shards = await Promise.all(
    CATALOGUES.map(
      async (name): Promise<FileRow[]> =>
        callCatalogue(async () => {
          const catalogue = catalogueNamed(env, name);
          return source === undefined
            ? catalogue.list(prefix, after, limit + 1, owner)
            : catalogue.listMadeFrom(source, prefix, after, limit + 1, owner);
        }),
    ),
  );
  // By code units, as SQLite does: ids are ASCII.
  const rows = shards.flat().toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const page = rows.slice(0, limit);
  const last = page.at(-1);
  const next = rows.length > limit && last ? cursorOf(last.id) : null;
  return { files: page.map((row) => showTo(bounds, toFile(row, base))), next };
}

const cursorOf = (id: string): string => Buffer.from(id).toString("base64url");

function readCursor(cursor: string): string {
  const id = Buffer.from(cursor, "base64url").toString();
  // Encoded again, because decoding skips what is not base64.
  if (fileIdSchema.safeParse(id).success && cursorOf(id) === cursor) return id;
  const detail = "The cursor is not the `next` of any page.";
  throw new Problem("invalid", detail, { errors: [{ at: "query/cursor", detail }] });
}

/** Whether a bound caller may know of the file that another was made from. Whose it was, its id alone does not say. */
const isShown = (bounds: Bounds | undefined, source: string | null | undefined): boolean =>
  !bounds || source === null || source === undefined || isWithin({ ...bounds, owner: null }, { id: source });

/** Without what a bound caller may not know: where it came from, if that is beyond its bounds. */
export function showTo<T extends { source: string | null; sourceTask: string | null }>(
  bounds: Bounds | undefined,
  file: T,
): T {
  return bounds
    ? { ...file, source: isShown(bounds, file.source) ? file.source : null, sourceTask: null }
    : file;
}
