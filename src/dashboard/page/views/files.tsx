/** Files: uploading by drop or choice, the list with its search in the URL, and one file with its preview. */
import { useSignal } from "@preact/signals";
import { may } from "../lib/api.ts";
import { type FilePage, withChanges } from "../lib/file-list.ts";
import { Hold } from "../lib/hold.tsx";
import { useLiveList } from "../lib/live-list.ts";
import { linkTo, route, setQuery } from "../lib/route.ts";
import { isSelecting } from "../lib/selection.ts";
import { Size } from "../lib/size.tsx";
import { Ago } from "../lib/time.tsx";
import type { FileLine } from "../lib/types.ts";
import { OneFile } from "./one-file.tsx";
import { Uploads } from "./uploads.tsx";

const LIMIT = 50;

export function Files() {
  const { id } = route.value;
  return id === "" ? <FileList /> : <OneFile id={id} />;
}

function FileList() {
  const { query } = route.value;
  const [prefix, cursor] = [query.get("prefix") ?? "", query.get("cursor") ?? ""];
  const filters = new URLSearchParams({ limit: String(LIMIT), prefix, cursor });
  const isPaused = useSignal(false);
  const isHeld = isPaused.value || isSelecting.value;
  const page = useLiveList<FilePage>(`/files?${String(filters)}`, isHeld, (apply) => ({
    files: (changes) =>
      apply(changes.files.length + changes.removed.length, (shown) =>
        withChanges(shown, changes, { prefix, limit: LIMIT, isFirst: cursor === "" }),
      ),
  }));
  const next = page.value?.next;
  return (
    <>
      <h1>Files</h1>
      {may("write") && <Uploads onStored={page.refresh} />}
      <label>
        Id begins with{" "}
        <input
          type="search"
          value={prefix}
          onInput={({ currentTarget }) => setQuery({ prefix: currentTarget.value, cursor: undefined })}
        />
      </label>
      <Hold list={page} isPaused={isPaused} />
      {page.value && <Table files={page.value.files} />}
      <p class="controls">
        {cursor && (
          <button type="button" class="quiet" onClick={() => setQuery({ cursor: undefined })}>
            First page
          </button>
        )}
        {next && (
          <button type="button" class="quiet" onClick={() => setQuery({ cursor: next })}>
            Next page
          </button>
        )}
      </p>
    </>
  );
}

function Table({ files }: { files: FileLine[] }) {
  if (files.length === 0) return <p class="faint">There are no such files.</p>;
  return (
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th scope="col">Name</th>
            <th scope="col" class="wide">
              Id
            </th>
            <th scope="col">Type</th>
            <th scope="col">Size</th>
            <th scope="col">Stored</th>
            <th scope="col" class="wide">
              Owner
            </th>
            <th scope="col" class="wide">
              Expires
            </th>
          </tr>
        </thead>
        <tbody>
          {files.map(({ id, filename, contentType, size, modifiedAt, expiresAt, owner }) => (
            <tr key={id}>
              <td>
                <a href={linkTo("files", id)}>{filename}</a>
              </td>
              <td class="wide">
                <code>{id}</code>
              </td>
              <td>{contentType}</td>
              <td class="number">
                <Size bytes={size} />
              </td>
              <td>
                <Ago time={modifiedAt} />
              </td>
              <td class="wide">{owner ?? <span class="faint">none</span>}</td>
              <td class="wide">{expiresAt ? <Ago time={expiresAt} /> : "never"}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
