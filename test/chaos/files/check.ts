/** Checks the uploaded files: when a client reports success, before that, and at the end. */
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { type Facts, sha256 } from "./source.ts";
import { headerOf, sendUntilResponse, type WireResponse } from "./wire.ts";
import type { World } from "./world.ts";

const CHECK_EVERY_MS = 150;
/** How many of the uploads in progress are checked each time. */
const PROBES = 3;

const pageSchema = z.object({
  files: z.array(z.object({ id: z.string(), filename: z.string(), size: z.number(), sha256: z.string() })),
  next: z.string().nullable(),
});
type Listed = z.output<typeof pageSchema>["files"][number];

/** Why this response to GET /files/{id} is not the file; undefined if it is. */
function findFault(response: WireResponse, { size, sha256: expected }: Facts): string | undefined {
  if (response.status !== 200) return `GET responded ${response.status}`;
  const got = sha256(response.body);
  if (got !== expected) {
    return `its sha-256 is not that of what was uploaded: ${response.body.length} bytes, and ${size} uploaded`;
  }
  const digest = `sha-256=:${Buffer.from(expected, "hex").toString("base64")}:`;
  return headerOf(response, "Repr-Digest") === digest ? undefined : "its Repr-Digest is wrong";
}

/** Reads the whole file and records it if it is wrong. */
export async function checkFile(world: World, id: string, source: Facts): Promise<void> {
  const response = await sendUntilResponse({ method: "GET", url: `${world.url()}/files/${id}` });
  const why = findFault(response, source);
  world.count("files read");
  if (why !== undefined) world.faults.push({ name: source.name, id, why });
}

export async function listFiles(world: World): Promise<Listed[]> {
  const all: Listed[] = [];
  for (let cursor: string | null = ""; cursor !== null; ) {
    const query: string = cursor === "" ? "" : `&cursor=${cursor}`;
    const url = `${world.url()}/files?limit=1000${query}`;
    const page = pageSchema.parse(
      JSON.parse((await sendUntilResponse({ method: "GET", url })).body.toString()),
    );
    all.push(...page.files);
    cursor = page.next;
  }
  return all;
}

/** What was visible too early or with wrong content. */
export interface Sightings {
  looks: number;
  torn: { id: string; why: string }[];
}

/** Repeatedly checks what readers can see, and once more when `signal` is aborted. All of it must be complete. */
export async function watch(
  world: World,
  sources: Map<string, Facts>,
  signal: AbortSignal,
): Promise<Sightings> {
  const seen: Sightings = { looks: 0, torn: [] };
  for (let isLast = false; !isLast; ) {
    isLast = signal.aborted;
    for (const { id, filename, size, sha256: listedSha256 } of await listFiles(world)) {
      seen.looks++;
      const source = sources.get(filename);
      if (source?.size === size && source.sha256 === listedSha256) continue;
      seen.torn.push({ id, why: `listed as "${filename}", ${size} bytes` });
    }
    for (const id of world.history.present.slice(-PROBES)) {
      seen.looks++;
      const why = await probe(world, sources, id);
      if (why !== undefined) seen.torn.push({ id, why });
    }
    await sleep(CHECK_EVERY_MS);
  }
  return seen;
}

/** Reads the file that the upload became, if any. */
async function probe(world: World, sources: Map<string, Facts>, id: string): Promise<string | undefined> {
  const response = await sendUntilResponse({ method: "GET", url: `${world.url()}/files/${id}` });
  if (response.status === 404) return undefined;
  const got = sha256(response.body);
  const source = [...sources.values()].find((facts) => facts.sha256 === got);
  return source
    ? findFault(response, source)
    : `GET responded ${response.status} and ${response.body.length} bytes`;
}
