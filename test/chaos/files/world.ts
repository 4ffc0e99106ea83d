/** The state that the clients of one run share. */
import { EventEmitter, once } from "node:events";
import type { Random } from "../random.ts";
import { History, type UploadResponse } from "./history.ts";
import { headerOf, type Request, send, type WireResponse } from "./wire.ts";

/**
 * Moments at which a kill matters most: the last byte is sent, partial uploads are about to be concatenated, or an
 * upload and its file are being removed.
 */
export type Moment = "completing" | "concatenating" | "removing";

/** A HEAD for an upload while another request for it hangs. */
export interface Look {
  headMs: number;
  offset: number;
  acknowledged: number;
}

/** A file that was missing or had other bytes than were uploaded. */
export interface Fault {
  name: string;
  id: string;
  why: string;
}

export class World {
  readonly history = new History();
  readonly looks: Look[] = [];
  readonly faults: Fault[] = [];
  /** What was removed and still exists. */
  readonly undead: { id: string; why: string }[] = [];
  /** How often each action was taken. */
  readonly counts = new Map<string, number>();
  /** Responses by method and status. */
  readonly responses = new Map<string, number>();
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

  /** False if there is no such moment in that time. */
  async awaitMoment(moment: Moment, maxMs: number): Promise<boolean> {
    return once(this.#moments, moment, { signal: AbortSignal.timeout(maxMs) }).then(
      () => true,
      () => false,
    );
  }

  /** Sends a request about an upload and records the response. Rejects with `BrokenOff`. */
  async send(request: Request): Promise<WireResponse> {
    return this.note(request, await send(request));
  }

  note(request: Pick<Request, "method" | "url">, response: WireResponse): WireResponse {
    const header = (name: string) => headerOf(response, name);
    this.noteResponse({ ...request, ...response, header });
    return response;
  }

  noteResponse({ method, url, status, header, beganAtMs, endedAtMs }: ReceivedResponse): void {
    const key = `${method} ${new URL(url).pathname.split("/")[1]} ${status}`;
    this.responses.set(key, (this.responses.get(key) ?? 0) + 1);
    const upload = uploadIdOf(header("Location") ?? url);
    const offset = header("Upload-Offset");
    const heard = offset === undefined ? undefined : Number(offset);
    if (upload !== undefined)
      this.history.note({ upload, method, status, offset: heard, beganAtMs, endedAtMs });
  }
}

interface ReceivedResponse extends Pick<UploadResponse, "method" | "status" | "beganAtMs" | "endedAtMs"> {
  url: string;
  header: (name: string) => string | undefined;
}

export const uploadIdOf = (url: string): string | undefined => /\/uploads\/([\w-]+)/.exec(url)?.[1];

export const pick = <T>(random: Random, items: readonly [T, ...T[]]): T =>
  items[random.between(0, items.length - 1)] ?? items[0];
