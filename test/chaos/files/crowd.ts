/** Clients of all kinds. Each makes one upload after the other and reads the resulting file. */
import { Random } from "../random.ts";
import { checkFile } from "./check.ts";
import { draft, tus } from "./dialect.ts";
import { uploadByRealClient, type Way } from "./real-client.ts";
import { remove } from "./remove.ts";
import { RoughClient, uploadInPieces, uploadPiecesLast } from "./rough-client.ts";
import { type Facts, makeSource, type Source } from "./source.ts";
import type { World } from "./world.ts";

/** Concurrent clients. */
const CLIENT_COUNT = 7;
/** The share of files that are removed as soon as they are checked. */
const REMOVED_SHARE = 0.7;

/** Returns the id of the upload, unless the client left before it learnt that the upload is complete. */
type Uploading = (source: Source, world: World, random: Random) => Promise<string | undefined>;

const real = (way: Way): [string, Uploading] => [
  `tus-js-client, ${way}`,
  async (source, world, random) => uploadByRealClient(source, way, world, random),
];

/** The first ones take part in every run, however short. */
const CLIENTS: [string, Uploading][] = [
  real("plain"),
  ["rough, tus", async (source, world, random) => new RoughClient(source, tus, world, random).upload()],
  real("parallel"),
  ["rough, in pieces", uploadInPieces],
  ["rough, pieces last", uploadPiecesLast],
  real("draft 05"),
  ["rough, draft", async (source, world, random) => new RoughClient(source, draft, world, random).upload()],
  real("deferred"),
  real("chunks"),
  ["rough, leaves", async (source, world, random) => new RoughClient(source, tus, world, random).leave()],
  real("at creation"),
  real("draft 05, chunks"),
  real("draft 03"),
];

export interface Finished {
  way: string;
  bytes: number;
}

export class Crowd {
  readonly finished: Finished[] = [];
  /** Ids of uploads that a client knows to be complete. */
  readonly known = new Set<string>();
  /** Everything that was ever uploaded, by name. */
  readonly sources = new Map<string, Facts>();
  /** What happened to unfinished uploads, by name. */
  readonly #unfinished = new Map<string, string>();
  readonly #world: World;
  readonly #seed: number;
  #isClosing = false;

  constructor(world: World, seed: number) {
    this.#world = world;
    this.#seed = seed;
  }

  get unfinished(): string[] {
    return [...this.#unfinished].map(([name, why]) => `${name}: ${why}`);
  }

  /** Resolves after `close`, when all uploads are finished. */
  async work(): Promise<void> {
    await Promise.all(Array.from({ length: CLIENT_COUNT }, async (_, client) => this.#workAs(client)));
  }

  /** Uploads in progress are still finished. */
  close(): void {
    this.#isClosing = true;
  }

  async #workAs(client: number): Promise<void> {
    for (let count = 0; !this.#isClosing; count++) {
      const name = `client-${client}-${count}`;
      // The numbers of kinds and clients have no common divisor, so each client is of each kind in turn.
      const [way, upload] = CLIENTS[(client + count * CLIENT_COUNT) % CLIENTS.length] ?? [];
      if (way === undefined || upload === undefined) throw new Error("There is always a kind of client.");
      this.#unfinished.set(name, way);
      try {
        await this.#perform(name, way, upload);
        this.#unfinished.delete(name);
      } catch (error) {
        this.#unfinished.set(name, `${way}: ${String(error)}`);
      }
    }
  }

  async #perform(name: string, way: string, upload: Uploading): Promise<void> {
    const random = new Random(this.#seed, name);
    const source = makeSource(this.#seed, name, random);
    const { size, sha256 } = source;
    this.sources.set(name, { name, size, sha256 });
    const id = await upload(source, this.#world, random);
    this.finished.push({ way, bytes: size });
    if (id === undefined) return;
    this.known.add(id);
    await checkFile(this.#world, id, source);
    if (random.chance(REMOVED_SHARE)) await remove(this.#world, random.chance(0.5) ? "file" : "upload", id);
  }
}
