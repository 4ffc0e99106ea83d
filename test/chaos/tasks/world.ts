/** What all parts of a run share: the history, the requests, and the events after which a kill can be aimed. */
import { EventEmitter, once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { BrokenOff, send as sendRequest, type WireResponse } from "../files/wire.ts";
import { type History, type Task, taskSchema } from "./history.ts";

/** An event that a kill can follow closely. The last five come from the witness. */
export type Moment = "submit" | "cancel" | "signal" | "begin" | "step" | "recorded" | "tick" | "end";

/** `json` is undefined if the response has none. */
export interface Answer {
  status: number;
  json: unknown;
  headers: WireResponse["headers"];
  askedAtMs: number;
  answeredAtMs: number;
}

export interface Call {
  method: string;
  path: string;
  headers?: Record<string, string>;
  body?: unknown;
}

const TRY_AGAIN_MS = 60;

export class World {
  readonly history: History;
  /** Nothing new is started. */
  isClosed = false;
  /** Nothing waits any longer. */
  isOver = false;
  readonly #url: () => string;
  readonly #moments = new EventEmitter().setMaxListeners(0);

  constructor(history: History, url: () => string) {
    this.history = history;
    this.#url = url;
  }

  get url(): string {
    return this.#url();
  }

  announce(moment: string): void {
    this.#moments.emit(moment);
  }

  /** False if there is no such event within `maxMs`. */
  async awaitMoment(moment: Moment, maxMs: number): Promise<boolean> {
    return once(this.#moments, moment, { signal: AbortSignal.timeout(maxMs) }).then(
      () => true,
      () => false,
    );
  }

  /** Undefined if there was no response. */
  async call({ method, path, headers = {}, body }: Call): Promise<Answer | undefined> {
    const bytes = body === undefined ? {} : { body: Buffer.from(JSON.stringify(body)) };
    const type = body === undefined ? {} : { "Content-Type": "application/json" };
    const request = { method, url: `${this.url}${path}`, headers: { ...headers, ...type }, ...bytes };
    const askedAtMs = Date.now();
    try {
      const answer = await sendRequest(request);
      this.#count(method, path, String(answer.status));
      return { ...answer, json: readJson(answer.body), askedAtMs, answeredAtMs: Date.now() };
    } catch (error) {
      this.#count(method, path, error instanceof BrokenOff ? "broken off" : "no response for 30 s");
      return undefined;
    }
  }

  /** Repeats a harmless request until its response is below 500. Undefined when the run is over. */
  async callUntilAnswered(call: Call): Promise<Answer | undefined> {
    while (!this.isOver) {
      const answer = await this.call(call);
      if (answer && answer.status < 500) return answer;
      await sleep(TRY_AGAIN_MS);
    }
    return undefined;
  }

  /** The task in a response, which is recorded. */
  see(answer: Answer | undefined): Task | undefined {
    const { success, data: task } = taskSchema.safeParse(answer?.json);
    if (!success || !answer || answer.status >= 300) return undefined;
    const { askedAtMs, answeredAtMs } = answer;
    this.history.sightings.push({ id: task.id, status: task.status, askedAtMs, answeredAtMs });
    return task;
  }

  #count(method: string, path: string, status: string): void {
    const route = path.replace(/\?.*/, "").replace(/s\d+-[0-9a-f-]{36}/, "{id}");
    const key = `${method} ${route} ${status}`;
    this.history.answers.set(key, (this.history.answers.get(key) ?? 0) + 1);
  }
}

const pageSchema = z.object({ tasks: z.array(taskSchema), next: z.string().nullable() });

/** A crashed object may fail once or twice. If it keeps failing, the cause is not a restart. */
const MAX_FAILURES = 20;

/** All pages of GET /tasks. `query` is empty or begins with "&". */
export async function listTasks(world: World, query = "", maxPages = Infinity): Promise<Task[]> {
  const all: Task[] = [];
  let cursor: string | null = "";
  for (let page = 0; cursor !== null && page < maxPages; page++) {
    const after: string = cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`;
    const found = await readPage(world, `/tasks?limit=100${query}${after}`);
    all.push(...(found?.tasks ?? []));
    cursor = found?.next ?? null;
  }
  return all;
}

async function readPage(world: World, path: string): Promise<z.output<typeof pageSchema> | undefined> {
  const { history } = world;
  for (let failures = 0; !world.isOver; ) {
    const answer = await world.call({ method: "GET", path });
    if (answer && answer.status >= 500) failures++;
    if (answer && (answer.status < 500 || failures === MAX_FAILURES)) {
      history.pages++;
      const { success, data } = pageSchema.safeParse(answer.json);
      if (success) return data;
      const text = JSON.stringify(answer.json)?.slice(0, 300);
      history.badPages.push(`GET ${path} returned ${answer.status} ${text}`);
      return undefined;
    }
    await sleep(TRY_AGAIN_MS);
  }
  return undefined;
}

function readJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString());
  } catch {
    return undefined;
  }
}
