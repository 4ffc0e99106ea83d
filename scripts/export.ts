/**
 * `npm run export`: writes every task, schedule and file's metadata to a file, through the API.
 *
 *     SLUICE_TOKEN=… npm run export -- https://sluice.example.com sluice.ndjson
 *
 * One JSON object a line (NDJSON): `{"task": …}`, `{"schedule": …}` or `{"file": …}`, each as the API shows it, and at
 * the end `{"end": {"tasks": 3, …}}`. Pages are written as they come, so memory does not grow with what there is. The file
 * has its name only when it is whole: until then it is `sluice.ndjson.part`. A file that exists is never overwritten.
 */
import { createWriteStream, existsSync } from "node:fs";
import { rename } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

const USAGE = "SLUICE_TOKEN=<a token with the scope read> npm run export -- <URL of the Sluice> <file>";
const PAGE_SIZE = 100;
/** How many tasks are read at once: a list has neither their input nor their result. */
const PARALLEL_READS = 8;
const MAX_TRIES = 6;
const MAX_PAUSE_S = 60;

type Json = Record<string, unknown>;

class HttpError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** GETs JSON. Tries again after a 429, a 5xx and a broken connection, when the response says so or after a pause. */
async function getJson(base: string, token: string, path: string): Promise<Json> {
  const headers: Record<string, string> = token === "" ? {} : { Authorization: `Bearer ${token}` };
  for (let tries = 1; ; tries++) {
    const response = await fetch(new URL(path, base), { headers }).catch((error: unknown) => error);
    if (response instanceof Response && response.ok) return (await response.json()) as Json;
    const failure =
      response instanceof Response
        ? new HttpError(response.status, `GET ${path}: ${response.status} ${await response.text()}`)
        : new Error(`${base} does not respond: ${reasonOf(response)}`);
    const isFinal = failure instanceof HttpError && failure.status < 500 && failure.status !== 429;
    if (isFinal || tries === MAX_TRIES) throw failure;
    const askedS = response instanceof Response ? Number(response.headers.get("Retry-After")) : 0;
    const pauseS = Math.min(askedS || 2 ** tries / 2, MAX_PAUSE_S);
    console.error(`${failure.message}\nTrying again in ${pauseS} s.`);
    await sleep(pauseS * 1_000);
  }
}

/** Why `fetch` has failed: its own message is only "fetch failed". */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause ? error.cause : error;
  return cause instanceof AggregateError ? cause.errors.map(String).join(", ") : String(cause);
}

/** The items of all pages of a list. */
async function* pagesOf(get: (path: string) => Promise<Json>, path: string, member: string) {
  for (let cursor: string | undefined = ""; cursor !== undefined; ) {
    const page = await get(`${path}?limit=${PAGE_SIZE}&cursor=${encodeURIComponent(cursor)}`);
    yield page[member] as Json[];
    cursor = typeof page.next === "string" ? page.next : undefined;
  }
}

/** A task with its input and result; undefined if it has been removed since it was listed. */
async function readTask(get: (path: string) => Promise<Json>, id: string): Promise<Json | undefined> {
  try {
    return await get(`/tasks/${encodeURIComponent(id)}`);
  } catch (error) {
    if (error instanceof HttpError && error.status === 404) return undefined;
    throw error;
  }
}

/** The lines of the export. Counts them in `end`. */
async function* exportOf(
  get: (path: string) => Promise<Json>,
  end: Record<"tasks" | "schedules" | "files", number>,
): AsyncGenerator<string> {
  const line = (value: Json) => `${JSON.stringify(value)}\n`;
  for await (const schedules of pagesOf(get, "/schedules", "schedules")) {
    for (const schedule of schedules) {
      end.schedules++;
      yield line({ schedule });
    }
  }
  for await (const files of pagesOf(get, "/files", "files")) {
    for (const file of files) {
      end.files++;
      yield line({ file });
    }
  }
  for await (const listed of pagesOf(get, "/tasks", "tasks")) {
    for (let i = 0; i < listed.length; i += PARALLEL_READS) {
      const batch = listed.slice(i, i + PARALLEL_READS);
      for (const task of await Promise.all(batch.map(async ({ id }) => readTask(get, String(id))))) {
        if (!task) continue;
        end.tasks++;
        yield line({ task });
      }
    }
  }
  yield line({ end });
}

const { positionals } = parseArgs({ allowPositionals: true });
const [base, file] = positionals;
if (base === undefined || file === undefined || !URL.canParse(base)) {
  console.error(USAGE);
  process.exitCode = 2;
} else if (existsSync(file)) {
  console.error(`${file} exists. Give the export another name, or remove that file.`);
  process.exitCode = 2;
} else {
  const end = { tasks: 0, schedules: 0, files: 0 };
  const get = async (path: string) => getJson(base, process.env.SLUICE_TOKEN ?? "", path);
  try {
    await pipeline(Readable.from(exportOf(get, end)), createWriteStream(`${file}.part`, { mode: 0o600 }));
    await rename(`${file}.part`, file);
    console.log(
      `${file} has all there is: tasks ${end.tasks}, schedules ${end.schedules}, files ${end.files}.`,
    );
  } catch (error) {
    console.error(error instanceof Error ? error.message : error, `\n${file}.part is not complete.`);
    process.exitCode = 1;
  }
}
