/**
 * Uploads with our own client, which does what no good client does. It requests the offset of the upload and then
 * makes one of these moves:
 *
 *     chunk       sends some of the rest, perhaps with a checksum
 *     half-open   sends some, and then nothing more on a connection that stays open; a HEAD on another connection
 *                 must get its response at once. Perhaps the first one wakes up just then and sends its rest
 *     rivals      sends the rest twice at the same time
 *     reset       sends some and resets the connection
 *
 * It creates uploads at a path with or without a slash at the end, by a request whose empty body is chunked or not.
 * It repeats this until the upload is complete. All bytes that it sends are the right ones for their offset.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "../random.ts";
import { type Dialect, type Headers, tus } from "./dialect.ts";
import { remove } from "./remove.ts";
import type { Source } from "./source.ts";
import {
  BrokenOff,
  type Exchange,
  headerOf,
  open,
  type Request,
  sendChunkedEmpty,
  untilResponse,
  type WireResponse,
} from "./wire.ts";
import { pick, uploadIdOf, type World } from "./world.ts";

const MOVES = ["chunk", "half-open", "rivals", "reset"] as const;
type Move = (typeof MOVES)[number];
const CHUNK = 7 * 1024 * 1024;
const REST_SHARE = 0.3;
const CHECKSUM_SHARE = 0.3;
const WAKE_SHARE = 0.3;
/** Of the creations: to a path with a slash at the end; with a chunked body of no bytes. */
const SLASH_SHARE = 0.3;
const CHUNKED_SHARE = 0.3;
const HANG_MS = [0, 200] as const;
const HEAD_START_MS = [0, 60] as const;
/** Between the pieces of two racing requests, so that they overlap. */
const RIVAL_PAUSE_MS = [0, 10] as const;
const CONCATENATION_POLL_MS = 100;
/** Of the pieces that are complete before others are. */
const REMOVED_PIECE_SHARE = 0.3;

export class RoughClient {
  readonly #source: Source;
  readonly #dialect: Dialect;
  readonly #world: World;
  readonly #random: Random;
  /** Further headers of the creation. */
  readonly #extra: Headers;
  #id = "";

  constructor(source: Source, dialect: Dialect, world: World, random: Random, extra: Headers = {}) {
    this.#source = source;
    this.#dialect = dialect;
    this.#world = world;
    this.#random = random;
    this.#extra = extra;
  }

  /** Creates the upload, and returns its id; `upload` then continues with it. */
  async begin(): Promise<string> {
    await this.#create();
    return this.#id;
  }

  /** Returns the id of the upload when it is complete. */
  async upload(): Promise<string> {
    const planned: Move[] = ["half-open", "rivals", "reset", "chunk"];
    if (this.#id === "") await this.#create();
    for (;;) {
      const now = await this.#look();
      if (now.status === 404) {
        await this.#create(); // the history has recorded the 404 and judges it
      } else if (this.#dialect.isComplete(now)) {
        return this.#id;
      } else {
        const move = planned.shift() ?? pick(this.#random, MOVES);
        this.#world.count(move);
        await this.#try(move, Number(headerOf(now, "Upload-Offset")));
      }
    }
  }

  /** Sends everything and does not wait for the response. No client ever requests its state. */
  async leave(): Promise<undefined> {
    await this.#create();
    const exchange = this.#open(0, this.#source.bytes);
    await exchange.write(this.#source.bytes);
    this.#world.announce("completing");
  }

  get #url(): string {
    return `${this.#world.url()}/uploads/${this.#id}`;
  }

  async #create(): Promise<void> {
    const { name, bytes } = this.#source;
    const headers = { ...this.#dialect.create(name, bytes.length), ...this.#extra };
    const slash = this.#random.chance(SLASH_SHARE) ? "/" : "";
    const request = { method: "POST", url: `${this.#world.url()}/uploads${slash}`, headers };
    const isChunked = this.#random.chance(CHUNKED_SHARE);
    if (isChunked) this.#world.count("chunked creation");
    const response = await untilResponse(async () =>
      isChunked ? this.#world.note(request, await sendChunkedEmpty(request)) : this.#world.send(request),
    );
    this.#id = uploadIdOf(headerOf(response, "Location") ?? "") ?? "";
    if (this.#id === "")
      throw new Error(`A creation got the status ${response.status}: ${String(response.body)}`);
  }

  async #look(): Promise<WireResponse> {
    const request = { method: "HEAD", url: this.#url, headers: this.#dialect.look };
    return untilResponse(async () => this.#world.send(request));
  }

  async #try(move: Move, offset: number): Promise<void> {
    try {
      await this.#perform(move, offset);
    } catch (error) {
      if (!(error instanceof BrokenOff)) throw error;
    }
  }

  async #perform(move: Move, offset: number): Promise<void> {
    const rest = this.#source.bytes.subarray(offset);
    const isAll = rest.length === 0 || this.#random.chance(REST_SHARE);
    const bytes = isAll ? rest : rest.subarray(0, this.#random.between(1, Math.min(rest.length, CHUNK)));
    if (move === "chunk" || rest.length === 0) return this.#sendChunk(offset, bytes);
    if (move === "rivals") return this.#sendTwice(offset, bytes);
    const exchange = this.#open(offset, bytes);
    const cut = this.#random.between(0, bytes.length - 1);
    await exchange.write(bytes.subarray(0, cut));
    if (move === "reset") {
      await sleep(this.#random.between(...HANG_MS));
      return exchange.reset();
    }
    return this.#leaveHanging(exchange, bytes.subarray(cut), offset);
  }

  async #sendChunk(offset: number, bytes: Buffer): Promise<void> {
    const checksum = this.#random.chance(CHECKSUM_SHARE) ? this.#dialect.checksum(bytes) : {};
    const exchange = this.#open(offset, bytes, checksum);
    await exchange.write(bytes);
    if (offset + bytes.length === this.#source.bytes.length) this.#world.announce("completing");
    await exchange.response;
  }

  async #sendTwice(offset: number, bytes: Buffer): Promise<void> {
    const race = async (headStartMs: number) => {
      await sleep(headStartMs);
      const exchange = this.#open(offset, bytes);
      await exchange.write(bytes, this.#random.between(...RIVAL_PAUSE_MS));
      await exchange.response;
    };
    const headStarts = [0, this.#random.between(...HEAD_START_MS)];
    await Promise.allSettled(headStarts.map(race));
  }

  async #leaveHanging(exchange: Exchange, rest: Buffer, acknowledged: number): Promise<void> {
    await sleep(this.#random.between(...HANG_MS));
    if (this.#random.chance(WAKE_SHARE)) exchange.write(rest).catch(() => {}); // never rejects
    const now = await this.#look();
    exchange.reset();
    if (now.status >= 300) return;
    const headMs = now.endedAtMs - now.beganAtMs;
    this.#world.looks.push({ headMs, acknowledged, offset: Number(headerOf(now, "Upload-Offset")) });
  }

  #open(offset: number, bytes: Buffer, checksum: Headers = {}): Exchange {
    const isLast = offset + bytes.length === this.#source.bytes.length;
    const headers = {
      ...this.#dialect.append(offset, isLast),
      ...checksum,
      "Content-Length": bytes.length,
    };
    const request: Request = { method: "PATCH", url: this.#url, headers };
    const exchange = open(request);
    exchange.response.then(
      (response) => this.#world.note(request, response),
      () => {},
    );
    return exchange;
  }
}

/** Uploads the pieces of a file at the same time, and then concatenates them (tus). */
export async function uploadInPieces(source: Source, world: World, random: Random): Promise<string> {
  const pieces = cutIntoPieces(source, world, random);
  const ids = await Promise.all(pieces.map(async (piece) => piece.upload()));
  return untilConcatenated(await createFinal(source, ids, world), world);
}

/**
 * Creates the final upload first, and then uploads the pieces, which it waits for (concatenation-unfinished). A piece
 * that is complete may be removed while others are not.
 */
export async function uploadPiecesLast(source: Source, world: World, random: Random): Promise<string> {
  const pieces = cutIntoPieces(source, world, random);
  const ids = await Promise.all(pieces.map(async (piece) => piece.begin()));
  const final = await createFinal(source, ids, world);
  await Promise.all(
    pieces.map(async (piece, i) => {
      const id = await piece.upload();
      if (id !== ids[i]) throw new Error("A piece was lost, and with it the final upload.");
      if (random.chance(REMOVED_PIECE_SHARE)) await remove(world, "upload", id);
    }),
  );
  return untilConcatenated(final, world);
}

function cutIntoPieces(source: Source, world: World, random: Random): RoughClient[] {
  const cuts = [0, ...sortedCuts(random, source.bytes.length), source.bytes.length];
  return cuts.slice(1).map((end, i) => {
    const bytes = source.bytes.subarray(cuts[i], end);
    const piece = { ...source, bytes, size: bytes.length };
    return new RoughClient(piece, tus, world, random, { "Upload-Concat": "partial" });
  });
}

async function createFinal(source: Source, ids: string[], world: World): Promise<string> {
  const { "Upload-Length": _, ...headers } = tus.create(source.name, 0);
  const concat = `final;${ids.map((id) => `/uploads/${id}`).join(" ")}`;
  const url = `${world.url()}/uploads`;
  const created = await untilResponse(async () => {
    setTimeout(() => world.announce("concatenating"), 5);
    return world.send({ method: "POST", url, headers: { ...headers, "Upload-Concat": concat } });
  });
  const id = uploadIdOf(headerOf(created, "Location") ?? "");
  if (id === undefined)
    throw new Error(`A final upload got the status ${created.status}: ${String(created.body)}`);
  return id;
}

async function untilConcatenated(id: string, world: World): Promise<string> {
  const look = { method: "HEAD", url: `${world.url()}/uploads/${id}`, headers: tus.look };
  while (!tus.isComplete(await untilResponse(async () => world.send(look))))
    await sleep(CONCATENATION_POLL_MS);
  return id;
}

const sortedCuts = (random: Random, length: number): number[] =>
  Array.from({ length: random.between(1, 2) }, () => random.between(1, length - 1)).toSorted((a, b) => a - b);
