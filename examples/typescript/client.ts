/** A client of Sluice with types from its OpenAPI document (schema.d.ts: see README.md). */
import type { components, paths } from "./schema.d.ts";

export type Task = components["schemas"]["Task"];

export interface Connection {
  url: string;
  token?: string | undefined;
}

/** An error response (RFC 9457). */
export class SluiceError extends Error {
  override readonly name = "SluiceError";
  readonly status: number;
  readonly problem: components["schemas"]["Problem"] | undefined;

  constructor(status: number, problem?: components["schemas"]["Problem"]) {
    super(`${status}: ${problem?.detail ?? "no problem was described"}`);
    this.status = status;
    this.problem = problem;
  }
}

/** The methods that a path has, and what one of them takes and returns. */
type MethodOf<Path extends keyof paths> = {
  [M in keyof paths[Path]]-?: paths[Path][M] extends { responses: unknown } ? M : never;
}[keyof paths[Path]] &
  string;
type RequestOf<O> = { headers?: Record<string, string> } & (O extends { parameters: { path: infer P } }
  ? { path: P }
  : unknown) &
  (O extends { parameters: { query?: infer Q } } ? { query?: Q } : unknown) &
  (O extends { requestBody: { content: { "application/json": infer B } } } ? { body: B } : unknown);
type Json<R> = R extends { content: { "application/json": infer B } } ? B : undefined;
type ResultOf<O> = O extends { responses: infer R }
  ? { [S in keyof R]: S extends 200 | 201 | 202 | 204 ? Json<R[S]> : never }[keyof R]
  : never;

const headersOf = ({ token }: Connection): Record<string, string> =>
  token === undefined ? {} : { Authorization: `Bearer ${token}` };

/**
 * `call(connection, "post", "/tasks", { body: { type: "task_a" } })`: path, method, body and result are checked by the compiler.
 * Throws a `SluiceError` for an error response.
 */
export async function call<Path extends keyof paths & string, Method extends MethodOf<Path>>(
  connection: Connection,
  method: Method,
  path: Path,
  request: RequestOf<paths[Path][Method & keyof paths[Path]]>,
): Promise<ResultOf<paths[Path][Method & keyof paths[Path]]>> {
  const given: { path?: object; query?: object; body?: unknown; headers?: Record<string, string> } = request;
  let target: string = path;
  for (const [name, value] of Object.entries(given.path ?? {}))
    target = target.replace(`{${name}}`, encodeURIComponent(String(value)));
  const url = new URL(target, connection.url);
  for (const [name, value] of Object.entries(given.query ?? {}))
    if (value !== undefined) url.searchParams.set(name, String(value));
  const response = await fetch(url, {
    method: method.toUpperCase(),
    headers: { ...headersOf(connection), "Content-Type": "application/json", ...given.headers },
    ...(given.body !== undefined && { body: JSON.stringify(given.body) }),
  });
  const text = await response.text();
  const isJson = /\bjson\b/.test(response.headers.get("Content-Type") ?? "");
  const value = isJson ? JSON.parse(text) : undefined;
  if (!response.ok) throw new SluiceError(response.status, value);
  return value;
}

/** An event of a task: `status`, `progress` or `step`, numbered from 1. */
export interface TaskEvent {
  id: number;
  name: string;
  data: Record<string, unknown>;
}

/**
 * The events of a task, each once and in order, until it has ended. After a broken connection it continues after the last
 * event, as a browser's `EventSource` does. Throws if the task does not exist or may not be read.
 */
export async function* follow(
  connection: Connection,
  taskId: string,
  signal?: AbortSignal,
): AsyncGenerator<TaskEvent> {
  const url = new URL(`/tasks/${encodeURIComponent(taskId)}/events`, connection.url);
  let last = 0;
  let retryMs = 1_000;
  for (;;) {
    try {
      const headers = { ...headersOf(connection), "Last-Event-ID": String(last) };
      const response = await fetch(url, { headers, ...(signal && { signal }) });
      if (response.status === 204) return;
      if (response.status < 500 && response.status !== 429 && !response.ok)
        throw new SluiceError(response.status, await response.json());
      if (response.ok && response.body)
        for await (const fields of eventsIn(response.body)) {
          if (fields.retry !== undefined) retryMs = Number(fields.retry);
          if (fields.data === undefined) continue;
          last = Number(fields.id);
          yield { id: last, name: fields.event ?? "message", data: JSON.parse(fields.data) };
        }
    } catch (error) {
      if (error instanceof SluiceError || signal?.aborted) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, retryMs));
  }
}

/** The fields of each event in a stream (WHATWG HTML §9.2.6). */
async function* eventsIn(body: ReadableStream<Uint8Array>): AsyncGenerator<Record<string, string>> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of body) {
    const blocks = (text + decoder.decode(chunk, { stream: true })).split("\n\n");
    text = blocks.pop() ?? "";
    for (const block of blocks) {
      const lines = block.split("\n").filter((line) => !line.startsWith(":"));
      yield Object.fromEntries(lines.map((line) => [line.split(":")[0], line.replace(/^[^:]*: ?/, "")]));
    }
  }
}
