/**
 * The events of an upstream: its status, and again after each change. A semaphore of one object sends them itself; those of
 * several shards are merged here, in the invocation of the request that watches.
 *
 * Each shard has its own stream (kernel/broadcast.ts). The first event here is sent when all of them have sent one.
 * A stream that breaks breaks this one, and an `EventSource` comes back. It also comes back soon while a shard does not
 * respond, which each event says. This stream ends when all of theirs have, which they do when nothing happens; a shard
 * whose stream has ended before that of the others is asked for its status now and then.
 */
import { eventsIn } from "../kernel/merged-events.ts";
import { callSemaphore, noResponse } from "./client/semaphores.ts";
import { mergeStatus } from "./merge-status.ts";
import type { ShardStatus } from "./semaphore/status.ts";
import { indexesOf, semaphoreOf } from "./shards.ts";
import type { Upstream } from "./upstreams.ts";

/** Changes of different shards that come close together share an event. */
const MIN_INTERVAL_MS = 200;
/** How old the status of a shard may be whose stream has ended. */
const REFRESH_MS = 5_000;
/** A stream that lacks a shard ends after this long, so that its reader asks for it again. */
const LACKING_MS = 15_000;

type Events = ReadableStream<Uint8Array>;

/** Throws a `Problem` 503 if no shard responds. `caller` is the name of the token. */
export async function watch(env: Env, upstream: Upstream, caller: string): Promise<Events | "too-many"> {
  const subscribe = async (shard: number) =>
    callSemaphore(upstream, async () => semaphoreOf(env, upstream, shard).events(caller));
  if (upstream.shards === 1) return subscribe(0);
  const results = await Promise.allSettled(indexesOf(upstream).map(subscribe));
  const streams = results.map((result) => (result.status === "fulfilled" ? result.value : undefined));
  const open = streams.filter((stream) => stream instanceof ReadableStream);
  if (streams.includes("too-many")) {
    await Promise.allSettled(open.map(async (stream) => stream.cancel()));
    return "too-many";
  }
  if (open.length === 0) throw noResponse(upstream);
  const askAgain = async (shard: number) => semaphoreOf(env, upstream, shard).status();
  return new MergedStatuses(
    streams.map((stream) => (stream instanceof ReadableStream ? stream : undefined)),
    askAgain,
  ).readable;
}

/** @public For its tests. */
export class MergedStatuses {
  readonly readable: Events;
  readonly #askAgain: (shard: number) => Promise<ShardStatus>;
  readonly #latest: (ShardStatus | undefined)[];
  /** Those whose streams are open. */
  readonly #readers = new Map<number, ReadableStreamDefaultReader<Uint8Array>>();
  /** Those that have not sent their first event. */
  readonly #awaited: Set<number>;
  /** Those whose streams have ended, and when they were asked last. */
  readonly #ended = new Map<number, number>();
  readonly #encoder = new TextEncoder();
  readonly #endsAtMs: number;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** The reader has not taken the last event yet, and has missed a later one. */
  #isBehind = false;
  #revision = 0;

  constructor(streams: readonly (Events | undefined)[], askAgain: (shard: number) => Promise<ShardStatus>) {
    this.#askAgain = askAgain;
    this.#latest = streams.map(() => undefined);
    for (const [shard, stream] of streams.entries()) if (stream) this.#readers.set(shard, stream.getReader());
    this.#awaited = new Set(this.#readers.keys());
    const isWhole = this.#readers.size === streams.length;
    this.#endsAtMs = isWhole ? Number.POSITIVE_INFINITY : Date.now() + LACKING_MS;
    this.readable = new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller;
        for (const [shard, reader] of this.#readers) this.#follow(shard, reader).catch(() => {});
      },
      pull: () => {
        if (this.#isBehind) this.#sendSoon();
        this.#isBehind = false;
      },
      cancel: () => this.#stop(),
    });
  }

  /** Reads the events of a shard until they end. */
  async #follow(shard: number, reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
    let retry: string | undefined;
    try {
      for await (const event of eventsIn(reader)) {
        if (event.startsWith("retry:")) retry = event;
        const data = dataOf(event);
        if (data !== undefined) this.#onStatus(shard, JSON.parse(data));
      }
      this.#onEnd(shard, retry);
    } catch (error) {
      if (!this.#controller) return;
      this.#controller.error(error);
      this.#stop();
    }
  }

  #onStatus(shard: number, status: ShardStatus): void {
    this.#latest[shard] = status;
    this.#awaited.delete(shard);
    if (this.#awaited.size === 0) this.#sendSoon(this.#revision === 0 ? 0 : MIN_INTERVAL_MS);
  }

  #onEnd(shard: number, retry: string | undefined): void {
    this.#readers.delete(shard);
    this.#ended.set(shard, Date.now());
    if (this.#readers.size === 0) this.#close(retry);
  }

  #sendSoon(inMs = MIN_INTERVAL_MS): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#send();
    }, inMs);
  }

  #send(): void {
    const status = mergeStatus(this.#latest);
    if (!this.#controller || !status) return;
    this.#refreshEnded();
    if ((this.#controller.desiredSize ?? 0) <= 0) this.#isBehind = true;
    else this.#write(`id: ${++this.#revision}\nevent: status\ndata: ${JSON.stringify(status)}`);
    if (Date.now() >= this.#endsAtMs) this.#close(undefined);
  }

  #refreshEnded(): void {
    const nowMs = Date.now();
    for (const [shard, askedAtMs] of this.#ended) {
      if (nowMs - askedAtMs < REFRESH_MS) continue;
      this.#ended.set(shard, nowMs);
      this.#askAgain(shard).then(
        (status) => (this.#latest[shard] = status),
        () => (this.#latest[shard] = undefined),
      );
    }
  }

  #close(retry: string | undefined): void {
    if (!this.#controller) return;
    if (retry !== undefined) this.#write(retry);
    this.#controller.close();
    this.#stop();
  }

  #write(event: string): void {
    this.#controller?.enqueue(this.#encoder.encode(`${event}\n\n`));
  }

  /** Nobody reads any longer. */
  #stop(): void {
    this.#controller = undefined;
    clearTimeout(this.#timer);
    for (const reader of this.#readers.values()) reader.cancel().catch(() => {});
  }
}

const dataOf = (event: string): string | undefined => /^data: (.*)$/m.exec(event)?.[1];
