/** One file: its digests, its links, the jobs that can be started on it, and a preview that can run nothing. */
import { call, isBound, may } from "../lib/api.ts";
import { Copy } from "../lib/copy.tsx";
import { kindOf } from "../lib/file-kind.ts";
import { useLiveList } from "../lib/live-list.ts";
import { act, announce } from "../lib/notices.tsx";
import { linkTo } from "../lib/route.ts";
import { isSelecting } from "../lib/selection.ts";
import { Size } from "../lib/size.tsx";
import { useTaskTypes } from "../lib/task-types.ts";
import { Ago } from "../lib/time.tsx";
import type { FileLine } from "../lib/types.ts";
import { FileLinks } from "./file-links.tsx";
import { FilePreview } from "./file-preview.tsx";

export function OneFile({ id }: { id: string }) {
  const path = `/files/${encodeURIComponent(id)}`;
  const list = useLiveList<{ files: FileLine[] }>(
    `/files?prefix=${encodeURIComponent(id)}&limit=1`,
    isSelecting.value,
    (apply) => ({
      files: ({ files, removed }) => {
        const changed = files.filter((file) => file.id === id);
        apply(changed.length + Number(removed.includes(id)), () => ({ files: changed }));
      },
    }),
  );
  if (!list.value) return <p role="status">{list.error ?? "Loading…"}</p>;
  const file = list.value.files.find((candidate) => candidate.id === id);
  if (!file) return <p role="status">There is no file {id}.</p>;
  return (
    <>
      <h1>
        <a href={linkTo("files")}>Files</a> / {file.filename}
      </h1>
      <Facts file={file} />
      <Actions path={path} file={file} />
      {may("write") && <FileLinks path={path} />}
      <h2>Preview</h2>
      {/* Another version of the file is read anew. */}
      <FilePreview key={file.etag} path={path} file={file} />
    </>
  );
}

function Facts({ file }: { file: FileLine }) {
  const { id, contentType, size, modifiedAt, expiresAt, sha256, etag, source, sourceTask, owner } = file;
  const base64 = btoa(
    String.fromCharCode(...(sha256.match(/../g) ?? []).map((byte) => Number.parseInt(byte, 16))),
  );
  return (
    <>
      <p class="faint">
        <code>{id}</code>, {contentType}, <Size bytes={size} />, stored <Ago time={modifiedAt} />,{" "}
        {expiresAt ? (
          <>
            expires <Ago time={expiresAt} />
          </>
        ) : (
          "does not expire"
        )}
        .{owner && <> Uploaded by {owner}.</>}
        {source && (
          <>
            {" "}
            Made from <a href={linkTo("files", source)}>{source}</a>
            {sourceTask && (
              <>
                {" "}
                by <a href={linkTo("tasks", sourceTask)}>a task</a>
              </>
            )}
            .
          </>
        )}
      </p>
      <dl class="digests">
        <dt>sha-256</dt>
        <dd>
          <code class="digest">{sha256}</code> <Copy text={sha256} what="The digest" />
        </dd>
        <dt>Repr-Digest</dt>
        <dd>
          <code class="digest">sha-256=:{base64}:</code>
        </dd>
        <dt>ETag</dt>
        <dd>
          <code class="digest">{etag}</code>
        </dd>
      </dl>
    </>
  );
}

function Actions({ path, file: { id, filename, contentType } }: { path: string; file: FileLine }) {
  const remove = act(async () => {
    if (!confirm(`Delete ${filename}? This cannot be undone.`)) return;
    await call(path, { method: "DELETE" });
    announce(`${filename} is deleted.`);
    location.hash = linkTo("files");
  });
  const isShown = ["image", "audio", "video"].includes(kindOf(contentType));
  return (
    <div class="controls">
      <a href={path} download={filename}>
        Download
      </a>
      {isShown && (
        <a href={`${path}?disposition=inline`} target="_blank" rel="noopener">
          Open in a tab
        </a>
      )}
      {may("write") && !isBound() && <Jobs fileId={id} />}
      {may("write") && (
        <button type="button" class="quiet" onClick={remove}>
          Delete
        </button>
      )}
    </div>
  );
}

/** The jobs that take a file: each opens its form, with this file filled in. */
function Jobs({ fileId }: { fileId: string }) {
  const { types = [] } = useTaskTypes();
  const taking = types.filter(({ input }) => input.properties?.fileId !== undefined);
  return (
    <details class="menu">
      <summary>Start a job</summary>
      <div class="panel left">
        {taking.map(({ name }) => (
          <a key={name} href={linkTo("tasks", "new", { type: name, fileId })}>
            {name}
          </a>
        ))}
      </div>
    </details>
  );
}
