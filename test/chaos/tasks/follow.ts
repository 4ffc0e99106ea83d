/**
 * A reader of a task's events (WHATWG HTML §9.2, "server-sent events"). When it is cut off, it reconnects with the id
 * of its last event, until the stream ends.
 */
import { request as httpRequest, type IncomingMessage } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { isTerminal, type Reading, type TaskEvent } from "./history.ts";
import type { World } from "./world.ts";

const RECONNECT_MS = 100;
/** Longer than the time between two heartbeats of the stream. */
const SILENT_MS = 40_000;

type Connection = "ended" | "gone" | "cut off";

/** Reads the events of a task from the first one on, and then adds the reading to `readings`. */
export async function follow(world: World, taskId: string, readings: Reading[]): Promise<void> {
  const reading: Reading = { taskId, events: [], connections: 0, end: "incomplete" };
  while (reading.end === "incomplete" && !world.isOver) {
    reading.connections++;
    const how = await connect(`${world.url}/tasks/${taskId}/events`, reading.events);
    if (how === "gone") reading.end = "gone";
    // A server that shuts down cleanly may also end its streams cleanly.
    if (how === "ended" && isOver(reading.events)) reading.end = "whole";
    if (reading.end === "incomplete") await sleep(RECONNECT_MS);
  }
  readings.push(reading);
}

const statusSchema = z.object({ status: z.string() });

/** The status in a status event; undefined for any other event. */
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

/** Makes one connection, and adds each event that arrives complete. Never rejects. */
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
