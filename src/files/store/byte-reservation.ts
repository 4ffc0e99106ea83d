/** The bytes that an upload under way holds of the quotas, over all shards of the catalogue. The rule is in byte-quota.ts. */
import { lacksMethod } from "../../kernel/objects.ts";
import { type Excess, insufficientStorage } from "../../kernel/quotas.ts";
import { type ByteLimits, type ByteUse, settle, sumOf } from "./byte-quota.ts";
import type { FileCatalogue } from "./catalogue.ts";
import { CATALOGUES, callCatalogue, catalogueNamed, catalogueNameOf } from "./shards.ts";

type Shard = DurableObjectStub<FileCatalogue>;

/** An upload, whose blob belongs to the shard of this file. */
export interface HeldUpload {
  id: string;
  blob: string;
  owner: string | null;
  limits: ByteLimits;
  /** The catalogue removes the blob then, if it is still no file. */
  dueAtMs: number;
}

/** What an upload of unknown length holds at first, in bytes; then twice what it has, each time. */
const FIRST_PORTION = 16 * 1024 * 1024;

export class ByteReservation {
  readonly #env: Env;
  readonly #upload: HeldUpload;
  #held: number;
  #excess: Excess | undefined;

  /** `held`: how much it holds already. */
  constructor(env: Env, upload: HeldUpload, held = 0) {
    this.#env = env;
    this.#upload = upload;
    this.#held = held;
  }

  /** Why the last bytes were refused, if they were. */
  get excess(): Excess | undefined {
    return this.#excess;
  }

  /**
   * Holds at least `need` bytes from now on, and if there is room a portion in advance, since it may need as many as `most`;
   * or says why not, and holds what it held.
   */
  async tryHold(need: number, most = need): Promise<Excess | undefined> {
    this.#excess = undefined;
    if (need <= this.#held) return undefined;
    const want = Math.max(need, Math.min(most, Math.max(2 * need, FIRST_PORTION)));
    const settled = settle(this.#upload.limits, await this.#ask(want), want, need);
    if (typeof settled === "number") {
      if (settled < want) await this.#tell(async (shard, ...held) => shard.holdBytes(...held), settled);
      this.#held = settled;
    } else {
      await this.#tell(async (shard, ...held) => shard.refuseBytes(...held), this.#held);
      this.#excess = settled;
    }
    return this.#excess;
  }

  /** As `tryHold`; throws a `Problem` 507. */
  async hold(need: number, most = need): Promise<void> {
    const excess = await this.tryHold(need, most);
    if (excess) throw insufficientStorage(excess);
  }

  /** All of it is here: it needs no more than these bytes. */
  async trim(size: number): Promise<void> {
    if (size >= this.#held) return;
    await this.#tell(async (shard, ...held) => shard.holdBytes(...held), size);
    this.#held = size;
  }

  /** The chunks, each once its bytes are held; they begin at the byte `offset`. Throws a `Problem` 507. */
  async *covering(chunks: AsyncIterable<Uint8Array>, most: number, offset = 0): AsyncGenerator<Uint8Array> {
    let size = offset;
    for await (const chunk of chunks) {
      size += chunk.length;
      await this.hold(Math.min(size, most), most);
      yield chunk;
    }
  }

  /** First holds, then adds up: in this order no upload is overlooked. */
  async #ask(want: number): Promise<ByteUse> {
    const own = await this.#tell(async (shard, ...held) => shard.holdBytes(...held), want);
    const { owner, id } = this.#upload;
    const others = CATALOGUES.filter((name) => name !== catalogueNameOf(id));
    const uses = others.map(async (name) => this.#call(name, async (shard) => shard.byteUse(owner)));
    return sumOf([own, ...(await Promise.all(uses))]);
  }

  /** Tells its own shard how much it holds. */
  async #tell(
    tell: (shard: Shard, ...held: Parameters<FileCatalogue["refuseBytes"]>) => Promise<ByteUse>,
    bytes: number,
  ): Promise<ByteUse> {
    const { id, blob, owner, dueAtMs } = this.#upload;
    return this.#call(catalogueNameOf(id), async (shard) => tell(shard, blob, owner, bytes, dueAtMs));
  }

  /** While a deploy goes on, a shard may be of a version that does not count. Until it is of this one, it counts for nothing. */
  async #call(name: string, call: (shard: Shard) => Promise<ByteUse>): Promise<ByteUse> {
    const { blob, dueAtMs } = this.#upload;
    return callCatalogue(async () => {
      try {
        return await call(catalogueNamed(this.#env, name));
      } catch (error) {
        if (!lacksMethod(error)) throw error;
        if (name === catalogueNameOf(this.#upload.id))
          await catalogueNamed(this.#env, name).reserve(blob, null, dueAtMs);
        return { own: 0, all: 0 };
      }
    });
  }
}
