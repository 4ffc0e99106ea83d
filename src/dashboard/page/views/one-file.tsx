/** One file: its digest, its links, a preview that can run nothing, and the jobs that can be started on it. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { ApiError, call, may, sendJson } from "../lib/api.ts";
import { act, announce, notify } from "../lib/notices.tsx";
import { usePolled } from "../lib/poll.ts";
import { linkTo } from "../lib/route.ts";
import { Size } from "../lib/size.tsx";
import { Ago } from "../lib/time.tsx";
import type { StoredFile, TaskType } from "../lib/types.ts";

const PREVIEW_BYTES = 64 * 1024;
const LINK_SECONDS = 3_600;

export function OneFile({ id }: { id: string }) {
  const path = `/files/${encodeURIComponent(id)}`;
  const list = usePolled<{ files: StoredFile[] }>(`/files?prefix=${encodeURIComponent(id)}&limit=1`, 10_000);
  if (!list.value) return <p role="status">{list.error ?? "Loading…"}</p>;
  const file = list.value.files.find((candidate) => candidate.id === id);
  if (!file) return <p role="status">There is no file {id}.</p>;
  return (
    <>
      <h1>
        <a href={linkTo("files")}>Files</a> / {file.filename}
      </h1>
      <p class="faint">
        <code>{id}</code>, {file.contentType}, <Size bytes={file.size} />, stored{" "}
        <Ago time={file.modifiedAt} />
        {file.expiresAt && (
          <>
            , expires <Ago time={file.expiresAt} />
          </>
        )}
      </p>
      <p>
        sha-256 <code class="digest">{file.sha256}</code>
      </p>
      <Actions path={path} filename={file.filename} />
      {may("write") && <Jobs fileId={id} />}
      <Preview path={path} contentType={file.contentType} />
    </>
  );
}

function Actions({ path, filename }: { path: string; filename: string }) {
  const link = useSignal("");
  const makeLink = act(async () => {
    const made = await sendJson<{ url: string }>("POST", `${path}/links`, { expires_in: LINK_SECONDS });
    link.value = made?.url ?? "";
  });
  const remove = act(async () => {
    if (!confirm(`Delete ${filename}?`)) return;
    await call(path, { method: "DELETE" });
    announce(`${filename} is deleted.`);
    location.hash = linkTo("files");
  });
  return (
    <div class="controls">
      <a href={path} download={filename}>
        Download
      </a>
      {may("write") && (
        <>
          <button type="button" class="quiet" onClick={makeLink}>
            Link for an hour
          </button>
          <button type="button" class="quiet" onClick={remove}>
            Delete
          </button>
        </>
      )}
      {link.value && <input readOnly value={link.value} aria-label="Link" />}
    </div>
  );
}

/** The types that take a file alone start at once; any other gets its form. */
function Jobs({ fileId }: { fileId: string }) {
  const types = usePolled<{ taskTypes: TaskType[] }>("/task-types", 60_000).value?.taskTypes ?? [];
  const taking = types.filter(({ input }) => input.properties !== undefined && "fileId" in input.properties);
  const start = (type: TaskType) => {
    if (!(type.input.required ?? []).every((name) => name === "fileId")) {
      location.hash = linkTo("tasks", "new", { type: type.name, fileId });
      return;
    }
    act(async () => {
      const task = await sendJson<{ id: string }>("POST", "/tasks", { type: type.name, input: { fileId } });
      location.hash = linkTo("tasks", task?.id);
    })();
  };
  return (
    <div class="controls">
      <span>Start</span>
      {taking.map((type) => (
        <button key={type.name} type="button" class="quiet" onClick={() => start(type)}>
          {type.name}
        </button>
      ))}
    </div>
  );
}

/** Media and pixels as the browser shows them, the beginning of text as text. Nothing of a file runs. */
function Preview({ path, contentType }: { path: string; contentType: string }) {
  const kind = contentType.split("/")[0] ?? "";
  const source = `${path}?disposition=inline`;
  if (kind === "image" && !contentType.includes("svg")) return <img class="preview" src={source} alt="" />;
  // oxlint-disable-next-line jsx-a11y/media-has-caption -- nobody knows what the file says
  if (kind === "audio") return <audio class="preview" src={source} controls />;
  // oxlint-disable-next-line jsx-a11y/media-has-caption -- nobody knows what the file says
  if (kind === "video") return <video class="preview" src={source} controls />;
  const isText = kind === "text" || /json|xml|javascript|csv/.test(contentType);
  return isText ? <TextPreview path={path} isCsv={contentType.startsWith("text/csv")} /> : null;
}

function TextPreview({ path, isCsv }: { path: string; isCsv: boolean }) {
  const text = useSignal("");
  useEffect(() => {
    const read = async () => {
      text.value = await readStart(path);
    };
    read().catch(notify);
  }, [path]);
  return isCsv ? <CsvTable text={text.value} /> : <pre tabIndex={0}>{text}</pre>;
}

async function readStart(path: string): Promise<string> {
  try {
    const response = await call(path, { headers: { Range: `bytes=0-${PREVIEW_BYTES - 1}` } });
    return await response.text();
  } catch (error) {
    // An empty file has no first byte.
    if (error instanceof ApiError && error.status === 416) return "";
    throw error;
  }
}

const MAX_ROWS = 100;

function CsvTable({ text }: { text: string }) {
  return (
    <div class="scroll">
      <table>
        <tbody>
          {parseCsv(text)
            .slice(0, MAX_ROWS)
            .map((row, i) => (
              <tr key={i}>
                {row.map((cell, j) => (
                  <td key={j}>{cell}</td>
                ))}
              </tr>
            ))}
        </tbody>
      </table>
    </div>
  );
}

/** The rows of the beginning of a CSV file (RFC 4180). What a cut leaves of the last one is a row too. */
function parseCsv(text: string): string[][] {
  const rows: string[][] = [[]];
  for (const [, quoted, plain = "", end = ""] of text.matchAll(
    /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/g,
  )) {
    rows.at(-1)?.push(quoted?.replaceAll('""', '"') ?? plain);
    if (end.endsWith("\n")) rows.push([]);
    if (end === "") break;
  }
  return rows.filter((row) => row.length > 0);
}
