/** The Worker of support/tasks-worker.ts on plain workerd, with the times of hurried.ts: its log, and its tasks. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { makeTemporaryFolder } from "../../../bench/support/process.ts";
import { startWorkerd, type Workerd } from "../../../bench/support/workerd.ts";
import { fromWorkshop } from "./built-worker.ts";

export type Body = Record<string, unknown>;

export interface ReadEvent {
  id: number;
  event: string;
  data: Body;
}

export class TasksServer {
  readonly #storage = makeTemporaryFolder();
  readonly #vars: Record<string, unknown>;
  readonly #lines: string[] = [];
  #running: Workerd | undefined;

  constructor(vars: Record<string, unknown>) {
    this.#vars = vars;
  }

  /** Starts it, with what it had stored when it was stopped. */
  async start(): Promise<void> {
    this.#running = await startWorkerd({
      main: await fromWorkshop("/hurried"),
      vars: this.#vars,
      storageDir: this.#storage.path,
      onLine: (line) => this.#lines.push(line),
    });
  }

  /** Kills it at once. */
  async kill(): Promise<void> {
    await this.#running?.stop("SIGKILL");
    this.#running = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    this.#storage.remove();
  }

  /** Without a trailing slash. */
  get url(): string {
    return String(this.#running?.url);
  }

  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(`${this.#running?.url}${path}`, init);
  }

  async getJson<T = Body>(path: string): Promise<T> {
    return (await this.fetch(path)).json() as Promise<T>;
  }

  async submit(type: string): Promise<string> {
    const headers = { "Content-Type": "application/json" };
    const response = await this.fetch("/tasks", { method: "POST", headers, body: JSON.stringify({ type }) });
    const { id } = (await response.json()) as Body;
    expect([response.status, id]).toEqual([202, expect.any(String)]);
    return String(id);
  }

  async runTasks(): Promise<string[]> {
    const { tasks } = await this.getJson<{ tasks: { id: string }[] }>("/run-tasks");
    return tasks.map(({ id }) => id);
  }

  /** The task, once it has succeeded. */
  async success(id: string): Promise<Body> {
    for (const untilMs = Date.now() + 60_000; ; await sleep(100)) {
      const task = await this.getJson(`/tasks/${id}`);
      if (task.status === "succeeded") return task;
      if (Date.now() > untilMs) throw new Error(`${id} is still ${JSON.stringify(task)}`);
    }
  }

  /** What a task has logged with a message, once there are `count` lines of it. */
  async logged(id: string, message: string, count: number): Promise<Body[]> {
    for (const untilMs = Date.now() + 10_000; this.linesOf(id, message).length < count; await sleep(50))
      if (Date.now() > untilMs) break;
    return this.linesOf(id, message);
  }

  linesOf(id: string, message: string): Body[] {
    return this.#lines
      .filter((line) => line.includes(id) && line.includes(`"message":"${message}"`))
      .map((line) => JSON.parse(line.slice(line.indexOf("{"), line.lastIndexOf("}") + 1)) as Body);
  }

  /** Reads the events of a task into `read`, after those it has, until the stream ends or is cut off. */
  async follow(id: string, read: ReadEvent[]): Promise<void> {
    const lastId = read.at(-1)?.id;
    const headers: Record<string, string> = lastId === undefined ? {} : { "Last-Event-ID": String(lastId) };
    const { body } = await this.fetch(`/tasks/${id}/events`, { headers });
    let text = "";
    for await (const chunk of body ?? []) {
      text += Buffer.from(chunk).toString();
      const blocks = text.split("\n\n");
      text = blocks.pop() ?? "";
      for (const block of blocks) {
        const [, number, event = "", data = ""] = /^id: (\d+)\nevent: (.*)\ndata: (.*)$/.exec(block) ?? [];
        if (number !== undefined) read.push({ id: Number(number), event, data: JSON.parse(data) as Body });
      }
    }
  }

  /** The statuses that a task has had until now, or until its end. */
  async statusesOf(id: string): Promise<unknown[]> {
    const read: ReadEvent[] = [];
    await this.follow(id, read);
    return read.filter(({ event }) => event === "status").map(({ data }) => data.status);
  }
}
