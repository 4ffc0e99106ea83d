/** What the clients of one run share. */
import { EventEmitter, once } from "node:events";
import type { Random } from "../random.ts";
import { type Answer, History } from "./history.ts";
import { headerOf, type Request, send, type WireAnswer } from "./wire.ts";

/** What is worth a kill just then: the last byte is sent; pieces are about to be put together, or an upload removed with its file. */
export type Moment = "sealing" | "assembling" | "removing";

/** A look at an upload while another request for it hangs. */
export interface Look {
  headMs: number;
  offset: number;
  acknowledged: number;
}

/** A file that was not what was uploaded, or not there. */
export interface Fault {
  name: string;
  id: string;
  why: string;
}

export class World {
  readonly history = new History();
  readonly looks: Look[] = [];
  readonly faults: Fault[] = [];
  /** What was removed, and is still there. */
  readonly undead: { id: string; why: string }[] = [];
  /** How often each was done. */
  readonly counts = new Map<string, number>();
  /** Answers by method and status. */
  readonly answers = new Map<string, number>();
  readonly url: () => string;
  readonly #moments = new EventEmitter();

  constructor(url: () => string) {
    this.url = url;
  }

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }

  countOf(what: string): number {
    return this.counts.get(what) ?? 0;
  }

  announce(moment: Moment): void {
    this.#moments.emit(moment);
  }

  /** False if there is no such moment for that long. */
  async awaitMoment(moment: Moment, mostMs: number): Promise<boolean> {
    return once(this.#moments, moment, { signal: AbortSignal.timeout(mostMs) }).then(
      () => true,
      () => false,
    );
  }

  /** Sends a request about an upload, and notes what is answered. Rejects with `BrokenOff`. */
  async send(request: Request): Promise<WireAnswer> {
    return this.note(request, await send(request));
  }

  note(request: Pick<Request, "method" | "url">, answer: WireAnswer): WireAnswer {
    const header = (name: string) => headerOf(answer, name);
    this.noteAnswer({ ...request, ...answer, header });
    return answer;
  }

  noteAnswer({ method, url, status, header, beganAtMs, endedAtMs }: HeardAnswer): void {
    const key = `${method} ${new URL(url).pathname.split("/")[1]} ${status}`;
    this.answers.set(key, (this.answers.get(key) ?? 0) + 1);
    const upload = uploadIdOf(header("Location") ?? url);
    const offset = header("Upload-Offset");
    const heard = offset === undefined ? undefined : Number(offset);
    if (upload !== undefined)
      this.history.note({ upload, method, status, offset: heard, beganAtMs, endedAtMs });
  }
}

interface HeardAnswer extends Pick<Answer, "method" | "status" | "beganAtMs" | "endedAtMs"> {
  url: string;
  header: (name: string) => string | undefined;
}

export const uploadIdOf = (url: string): string | undefined => /\/uploads\/([\w-]+)/.exec(url)?.[1];

export const pick = <T>(random: Random, items: readonly [T, ...T[]]): T =>
  items[random.between(0, items.length - 1)] ?? items[0];
