/** What an upstream responded, as the result of a task. */
import { type FileInfo, saveFile } from "../../files/index.ts";
import type { TaskContext } from "../../tasks/index.ts";
import { unexpected } from "./call-failure.ts";
import { isExpected } from "./call-input.ts";
import { type KeptBody, keepBody } from "./response-body.ts";

interface Head {
  status: number;
  headers: Record<string, string>;
}

export type Answer = Head & KeptBody;
export type SavedAnswer = Head & { file: Pick<FileInfo, "id" | "size" | "sha256" | "contentType"> };

type Expected = readonly (number | string)[];

/** The response with its body. Throws the task's error if the status is not one that is expected. */
export async function keepAnswer(response: Response, expected: Expected): Promise<Answer> {
  const kept = await keepBody(response);
  if (!isExpected(response.status, expected)) throw unexpected(response, textOf(kept));
  return { ...headOf(response), ...kept };
}

/** The same, with the body in a file, which becomes visible when all of it is stored. */
export async function saveAnswer(
  env: Env,
  ctx: TaskContext,
  response: Response,
  expected: Expected,
  { id, filename }: { id: string; filename: string },
): Promise<SavedAnswer> {
  if (!isExpected(response.status, expected)) throw unexpected(response, textOf(await keepBody(response)));
  const contentType = response.headers.get("content-type") ?? "application/octet-stream";
  const length = response.body ? lengthOf(response) : 0;
  const saved = await saveFile(
    env,
    { id, filename, contentType, task: ctx.taskId },
    response.body ? reported(ctx, response.body, length) : new Uint8Array(),
    { signal: ctx.signal, ...(length !== undefined && { length }) },
  );
  const { size, sha256 } = saved;
  return { ...headOf(response), file: { id, size, sha256, contentType: saved.contentType } };
}

function lengthOf({ headers }: Response): number | undefined {
  const length = headers.get("content-length");
  return length === null ? undefined : Number(length);
}

/** The same chunks, whose sum is reported as progress. */
async function* reported(ctx: TaskContext, body: AsyncIterable<Uint8Array>, length: number | undefined) {
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    ctx.progress(length === undefined ? 0 : size / length, `${size} bytes received`);
    yield chunk;
  }
}

/** Without the headers that Sluice adds for a browser. */
function headOf({ status, headers }: Response): Head {
  const {
    "content-security-policy": _policy,
    "x-content-type-options": _sniffing,
    ...sent
  } = Object.fromEntries(headers);
  return { status, headers: sent };
}

/** For a message: what a response says about itself. */
function textOf({ body, encoding }: KeptBody): string {
  if (encoding === "text") return String(body);
  return encoding === "json" ? JSON.stringify(body) : "";
}
