/** Which shard of which upstream an object is, and what follows: its part of the limits, and who the others are. */
import { errorFields, log } from "../../kernel/log.ts";
import { callObject } from "../../kernel/objects.ts";
import { type Override, partOf, type Settings, settingsOf } from "../settings.ts";
import { indexesOf, semaphoreOf, shardNamed } from "../shards.ts";
import type { Upstream } from "../upstreams.ts";
import type { PermitRequest } from "./permit-types.ts";
import type { Permits } from "./permits.ts";
import type { ShardLoad } from "./ticket.ts";

export class OwnShard {
  readonly upstream: Upstream;
  /** Undefined for an object that is none of them any longer. */
  readonly shard: number | undefined;
  readonly #env: Env;

  constructor(env: Env, objectName: string | undefined) {
    this.#env = env;
    const { upstream, shard } = shardNamed(env, objectName);
    this.upstream = upstream;
    this.shard = shard;
  }

  get isOneOfSeveral(): boolean {
    return this.upstream.shards > 1;
  }

  settings(override: Override): Settings {
    return settingsOf(this.upstream, override, this.shard);
  }

  /** The same request, with the part of the queue that its caller may fill here. Callers know that of the whole. */
  withPartOfQueue(request: PermitRequest): PermitRequest {
    const { share } = request;
    if (!share || this.shard === undefined) return request;
    const maxWaiting = partOf(share.maxWaiting, this.shard, this.upstream.shards);
    return { ...request, share: { ...share, maxWaiting } };
  }

  /** What callers choose a shard by. */
  loadOf({ held, queue }: Permits, { concurrency }: Settings): { load?: ShardLoad } {
    return this.isOneOfSeveral ? { load: { permits: concurrency, calls: held.size + queue.length } } : {};
  }

  /** Has the other shards pause for so long from now. One that is not reached learns of the pause from its own calls. */
  pauseOthers(pauseMs: number): void {
    for (const other of indexesOf(this.upstream).filter((shard) => shard !== this.shard))
      callObject(async () => semaphoreOf(this.#env, this.upstream, other).pauseFor(pauseMs)).catch(
        (error: unknown) =>
          log("warn", "pause not passed on", {
            upstream: this.upstream.name,
            shard: other,
            ...errorFields(error),
          }),
      );
  }
}
