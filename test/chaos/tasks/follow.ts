/**
 * A reader of a task's events (WHATWG HTML §9.2, "server-sent events"): cut off, it comes back with the id of the last
 * event it has, until the stream ends.
 */
import { request as httpRequest, type IncomingMessage } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { isTerminal, type Reading, type TaskEvent } from "./history.ts";
import type { World } from "./world.ts";

const COME_BACK_MS = 100;
/** Longer than from one heartbeat of the stream to the next. */
const SILENT_MS = 40_000;

type Connection = "ended" | "gone" | "cut off";

/** Reads the events of a task from the first, and adds them to `readings` at the end. */
export async function follow(world: World, taskId: string, readings: Reading[]): Promise<void> {
  const reading: Reading = { taskId, events: [], connections: 0, end: "given up" };
  while (reading.end === "given up" && !world.isOver) {
    reading.connections++;
    const how = await connect(`${world.url}/tasks/${taskId}/events`, reading.events);
    if (how === "gone") reading.end = "gone";
    // A server that ends in peace may end its streams in peace too.
    if (how === "ended" && isOver(reading.events)) reading.end = "whole";
    if (reading.end === "given up") await sleep(COME_BACK_MS);
  }
  readings.push(reading);
}

const statusSchema = z.object({ status: z.string() });

/** What a status event says; undefined for any other. */
export function statusOf({ event, data }: TaskEvent): string | undefined {
  if (event !== "status") return undefined;
  try {
    return statusSchema.parse(JSON.parse(data)).status;
  } catch {
    return "unreadable";
  }
}

const isOver = (events: TaskEvent[]) => {
  const last = events.at(-1);
  return last !== undefined && isTerminal(statusOf(last));
};

/** One connection; adds each event that has come whole. Never rejects. */
async function connect(url: string, events: TaskEvent[]): Promise<Connection> {
  const last = events.at(-1);
  const headers = { Accept: "text/event-stream", ...(last ? { "Last-Event-ID": String(last.id) } : {}) };
  const { promise, resolve } = Promise.withResolvers<Connection>();
  const request = httpRequest(url, { headers, agent: false });
  request.setTimeout(SILENT_MS, () => request.destroy());
  request.on("error", () => resolve("cut off"));
  request.on("close", () => resolve("cut off"));
  request.on("response", (response) => {
    if (response.statusCode === 204) return resolve("ended");
    if (response.statusCode === 404) return resolve("gone");
    if (response.statusCode !== 200) return resolve("cut off");
    read(response, events).then(
      () => resolve("ended"),
      () => resolve("cut off"),
    );
  });
  request.end();
  const how = await promise;
  request.destroy();
  return how;
}

async function read(response: IncomingMessage, events: TaskEvent[]): Promise<void> {
  response.setEncoding("utf8");
  let text = "";
  for await (const chunk of response) {
    text += String(chunk);
    const blocks = text.split("\n\n");
    text = blocks.pop() ?? "";
    for (const block of blocks) {
      const fields = new Map(
        block.split("\n").flatMap((line) => {
          const [, name, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
          return name === undefined ? [] : [[name, value ?? ""] as const];
        }),
      );
      const id = fields.get("id");
      const data = fields.get("data") ?? "";
      if (id !== undefined) events.push({ id: Number(id), event: fields.get("event") ?? "message", data });
    }
  }
}
