/** Calls of the API by a client that does not give up: what gets no response, because the server is down, is sent again. */
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";

const TRY_AGAIN_MS = 50;
/** Longer than any kill keeps the server from responding. */
const GIVE_UP_MS = 60_000;

const taskSchema = z.object({
  id: z.string(),
  status: z.string(),
  result: z.unknown().optional(),
  error: z.object({ name: z.string(), message: z.string() }).nullable(),
  followUps: z.array(z.string()),
});
export type Task = z.output<typeof taskSchema>;

const link = z.object({ id: z.string() });
const pageOfTasks = z.object({ tasks: z.array(link), next: z.string().nullable() });
const pageOfFiles = z.object({ files: z.array(z.object({ id: z.string() })), next: z.string().nullable() });

export const ENDED = ["succeeded", "failed", "cancelled"];

export class Api {
  readonly #url: () => string;

  constructor(url: () => string) {
    this.#url = url;
  }

  /** Stores a file. */
  async store(id: string, bytes: Uint8Array, contentType: string): Promise<void> {
    const init = { method: "PUT", body: Uint8Array.from(bytes), headers: { "Content-Type": contentType } };
    await this.#call(`/files/${id}`, init);
  }

  /** Submits a task once, under a key of its own; returns its id. */
  async submit(key: string, body: object): Promise<string> {
    const headers = { "Content-Type": "application/json", "Idempotency-Key": `"${key}"` };
    const response = await this.#call("/tasks", { method: "POST", body: JSON.stringify(body), headers });
    return link.parse(JSON.parse(response.toString())).id;
  }

  async task(id: string): Promise<Task> {
    return taskSchema.parse(JSON.parse((await this.#call(`/tasks/${id}`)).toString()));
  }

  /** How often a task that has ended was put back into the queue although its code had not ended: by a kill. */
  async cuts(id: string): Promise<number> {
    const events = (await this.#call(`/tasks/${id}/events`)).toString();
    return events.match(/"status":"queued",[^\n]*"reason":"(?:handed-over|crashed)"/g)?.length ?? 0;
  }

  /** The ids of all tasks. */
  async tasks(): Promise<string[]> {
    return this.#list("/tasks?limit=100", async (page) => {
      const { tasks, next } = pageOfTasks.parse(page);
      return { items: tasks.map(({ id }) => id), next };
    });
  }

  /** The ids of all files. */
  async files(): Promise<string[]> {
    return this.#list("/files?limit=1000", async (page) => {
      const { files, next } = pageOfFiles.parse(page);
      return { items: files.map(({ id }) => id), next };
    });
  }

  /** The bytes of a file. Throws if there is none. */
  async read(id: string): Promise<Buffer> {
    return this.#call(`/files/${id}`);
  }

  async #list<T>(
    path: string,
    read: (page: unknown) => Promise<{ items: T[]; next: string | null }>,
  ): Promise<T[]> {
    const all: T[] = [];
    for (let cursor: string | null = ""; cursor !== null; ) {
      const after: string = cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`;
      const { items, next } = await read(JSON.parse((await this.#call(path + after)).toString()));
      all.push(...items);
      cursor = next;
    }
    return all;
  }

  /** The body of a response with a status below 300. Throws on one of 300 to 499, but 409: the same request is under way. */
  async #call(path: string, init: RequestInit = {}): Promise<Buffer> {
    for (const untilMs = performance.now() + GIVE_UP_MS; ; await sleep(TRY_AGAIN_MS)) {
      const { status, body } = await tryCall(this.#url() + path, init);
      if (status >= 200 && status < 300) return body;
      if ((status >= 300 && status < 500 && status !== 409) || performance.now() > untilMs)
        throw new Error(`${init.method ?? "GET"} ${path} got ${status}: ${body.toString().slice(0, 500)}`);
    }
  }
}

/** The status 0 stands for no response, or half of one. */
async function tryCall(url: string, init: RequestInit): Promise<{ status: number; body: Buffer }> {
  try {
    const response = await fetch(url, init);
    return { status: response.status, body: Buffer.from(await response.arrayBuffer()) };
  } catch (error) {
    return { status: 0, body: Buffer.from(String(error)) };
  }
}
