/**
 * Runs the FastAPI program beside this file under one uvicorn process, if Python has the packages:
 *
 *     apt-get install python3-fastapi uvicorn python3-httpx python3-aiofiles python3-multipart
 */
import { spawnSync } from "node:child_process";
import { CONCURRENCY, type Contender, countFinished } from "../contender.ts";
import { makeTemporaryFolder, startProcess } from "../support/process.ts";

/** Where Python may be: $PYTHON, the first on the PATH, or the one that Debian has packages for. */
const PYTHONS = [process.env.PYTHON ?? [], "python3", "/usr/bin/python3"].flat();

/** Their names as Python imports them. */
export const PACKAGES = ["fastapi", "uvicorn", "httpx", "aiofiles", "multipart"];

const DESCRIBE = `
import platform, importlib.util as u
import ${PACKAGES.join(", ")}
loop = "uvloop" if u.find_spec("uvloop") else "asyncio"
http = "httptools" if u.find_spec("httptools") else "h11"
print(f"Python {platform.python_version()}, FastAPI {fastapi.__version__}, httpx {httpx.__version__}, "
      f"uvicorn {uvicorn.__version__} ({loop}, {http}, one worker)")`;

export interface Python {
  command: string;
  /** The versions of everything that matters, in one line. */
  description: string;
}

/** A Python that can run the program; undefined if there is none. */
export function findPython(): Python | undefined {
  for (const command of PYTHONS) {
    const { status, stdout } = spawnSync(command, ["-c", DESCRIBE], { encoding: "utf8" });
    if (status === 0) return { command, description: stdout.trim() };
  }
  return undefined;
}

export async function startFastApi(python: Python, upstreamUrl: string): Promise<Contender> {
  const folder = makeTemporaryFolder();
  const finished = countFinished();
  const listening = Promise.withResolvers<string>();
  const child = await startProcess({
    command: python.command,
    args: ["-m", "uvicorn", "main:app", "--host", "127.0.0.1", "--port", "0", "--no-access-log"],
    cwd: import.meta.dirname,
    env: {
      DATA_URL: `${upstreamUrl}/todos/1`,
      CONCURRENCY: String(CONCURRENCY),
      UPLOAD_DIR: folder.path,
      TMPDIR: folder.path, // where Starlette spools an upload before the program sees it
      PYTHONDONTWRITEBYTECODE: "1",
    },
    onLine: (line) => {
      const url = /Uvicorn running on (http:\S+)/.exec(line)?.[1];
      if (url !== undefined) listening.resolve(url);
      finished.onLine(line);
    },
  });
  const url = await Promise.race([listening.promise, child.failed]);
  const server = { url, pid: child.pid };
  return {
    name: "FastAPI",
    server,
    uploads: server,
    finishedTasks: finished.count,
    async [Symbol.asyncDispose]() {
      await child.stop();
      folder.remove();
    },
  };
}
