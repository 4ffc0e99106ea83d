/** Whether files are what was uploaded: when a client says that its upload is done, before that, and at the end. */
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { type Facts, sha256 } from "./source.ts";
import { headerOf, sendUntilAnswered, type WireAnswer } from "./wire.ts";
import type { World } from "./world.ts";

const LOOK_EVERY_MS = 150;
/** Of the uploads under way, that many are looked at each time. */
const PROBES = 3;

const pageSchema = z.object({
  files: z.array(z.object({ id: z.string(), filename: z.string(), size: z.number(), sha256: z.string() })),
  next: z.string().nullable(),
});
type Listed = z.output<typeof pageSchema>["files"][number];

/** Why this answer to GET /files/{id} is not the file; undefined if it is. */
function findFault(answer: WireAnswer, { size, sha256: expected }: Facts): string | undefined {
  if (answer.status !== 200) return `GET answered ${answer.status}`;
  const got = sha256(answer.body);
  if (got !== expected) {
    return `its sha-256 is not that of what was uploaded: ${answer.body.length} bytes, and ${size} uploaded`;
  }
  const digest = `sha-256=:${Buffer.from(expected, "hex").toString("base64")}:`;
  return headerOf(answer, "Repr-Digest") === digest ? undefined : "its Repr-Digest is another";
}

/** Reads the whole file, and takes note if it is not right. */
export async function checkFile(world: World, id: string, source: Facts): Promise<void> {
  const answer = await sendUntilAnswered({ method: "GET", url: `${world.url()}/files/${id}` });
  const why = findFault(answer, source);
  world.count("files read");
  if (why !== undefined) world.faults.push({ name: source.name, id, why });
}

export async function listFiles(world: World): Promise<Listed[]> {
  const all: Listed[] = [];
  for (let cursor: string | null = ""; cursor !== null; ) {
    const query: string = cursor === "" ? "" : `&cursor=${cursor}`;
    const url = `${world.url()}/files?limit=1000${query}`;
    const page = pageSchema.parse(
      JSON.parse((await sendUntilAnswered({ method: "GET", url })).body.toString()),
    );
    all.push(...page.files);
    cursor = page.next;
  }
  return all;
}

/** What of it was seen too early, or wrong. */
export interface Sightings {
  looks: number;
  torn: { id: string; why: string }[];
}

/** Looks again and again at what readers can see, and once more when `signal` is aborted. All of it must be whole. */
export async function watch(
  world: World,
  sources: Map<string, Facts>,
  signal: AbortSignal,
): Promise<Sightings> {
  const seen: Sightings = { looks: 0, torn: [] };
  for (let isLast = false; !isLast; ) {
    isLast = signal.aborted;
    for (const { id, filename, size, sha256: said } of await listFiles(world)) {
      seen.looks++;
      const source = sources.get(filename);
      if (source?.size === size && source.sha256 === said) continue;
      seen.torn.push({ id, why: `listed as "${filename}", ${size} bytes` });
    }
    for (const id of world.history.present.slice(-PROBES)) {
      seen.looks++;
      const why = await probe(world, sources, id);
      if (why !== undefined) seen.torn.push({ id, why });
    }
    await sleep(LOOK_EVERY_MS);
  }
  return seen;
}

/** Reads what the upload has become, which may be nothing. */
async function probe(world: World, sources: Map<string, Facts>, id: string): Promise<string | undefined> {
  const answer = await sendUntilAnswered({ method: "GET", url: `${world.url()}/files/${id}` });
  if (answer.status === 404) return undefined;
  const got = sha256(answer.body);
  const source = [...sources.values()].find((facts) => facts.sha256 === got);
  return source ? findFault(answer, source) : `GET answered ${answer.status} and ${answer.body.length} bytes`;
}
