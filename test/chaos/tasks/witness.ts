/**
 * The witness: an HTTP server in this process, which no kill affects. The code of every task reports to it when it
 * begins, what its steps do, and when it ends. The witness responds only after it has recorded the report.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import { z } from "zod";
import type { Execution } from "./history.ts";

const common = { execution: z.string(), taskId: z.string() };
const beginSchema = z.object({
  ...common,
  type: z.string(),
  attempt: z.number(),
  life: z.number(),
  notBeforeMs: z.number(),
  key: z.string(),
});
const stepSchema = z.object({ ...common, name: z.string() });
const endSchema = z.object({ ...common, outcome: z.enum(["returned", "threw"]) });

export interface Witness extends AsyncDisposable {
  url: string;
  executions: Execution[];
}

/** `onHeard` is called with "begin", "step", "recorded", "tick" and "end". */
export async function startWitness(onHeard: (what: string) => void): Promise<Witness> {
  const executions = new Map<string, Execution>();
  const record = async (request: IncomingMessage, response: ServerResponse) => {
    const what = request.url?.slice(1) ?? "";
    note(executions, what, JSON.parse(await text(request)));
    response.end();
    onHeard(what);
  };
  const server = createServer((request, response) => {
    // The sender was killed in the middle of its report.
    record(request, response).catch(() => response.destroy());
  });
  server.keepAliveTimeout = 60_000;
  const listening = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", () => listening.resolve());
  await listening.promise;
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("No port is free.");
  return {
    url: `http://127.0.0.1:${address.port}`,
    get executions() {
      return [...executions.values()];
    },
    async [Symbol.asyncDispose]() {
      const closed = Promise.withResolvers<void>();
      server.close(() => closed.resolve());
      server.closeAllConnections();
      await closed.promise;
    },
  };
}

function note(executions: Map<string, Execution>, what: string, body: unknown): void {
  const atMs = Date.now();
  if (what === "begin") {
    const { execution: id, ...begun } = beginSchema.parse(body);
    executions.set(id, { id, ...begun, beganAtMs: atMs, heardAtMs: atMs, steps: [], recorded: [] });
    return;
  }
  const execution = executions.get(z.object(common).parse(body).execution);
  if (!execution) throw new Error("This execution has not begun.");
  execution.heardAtMs = atMs;
  if (what === "step") execution.steps.push({ name: stepSchema.parse(body).name, atMs });
  if (what === "recorded") execution.recorded.push({ name: stepSchema.parse(body).name, atMs });
  if (what === "end") execution.end = { atMs, outcome: endSchema.parse(body).outcome };
}
