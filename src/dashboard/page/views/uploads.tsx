/**
 * Uploading: files that are dropped or chosen travel by tus, in pieces, so that they survive a broken connection. After a
 * reload, choosing the same file again goes on where it was: the browser remembers the upload's URL. The client is loaded
 * when the first file comes.
 */
import { type Signal, signal, useSignal, useSignalEffect } from "@preact/signals";
import type { Upload } from "tus-js-client";
import { notify } from "../lib/notices.tsx";
import { Size } from "../lib/size.tsx";

/** Below the limit for a request's body, which is 100 MB on most plans. */
const CHUNK_BYTES = 50_000_000;
const RETRY_DELAYS_MS = [0, 1_000, 3_000, 5_000, 10_000];

interface Entry {
  name: string;
  bytes: number;
  sent: Signal<number>;
  /** In bytes per second, since it began or was resumed. */
  speed: Signal<number>;
  state: Signal<"sending" | "paused" | "done" | "failed">;
  upload: Upload;
}

/** They go on while another view is shown. */
const entries = signal<Entry[]>([]);

export function Uploads({ onStored }: { onStored: () => void }) {
  const isOver = useSignal(false);
  const add = (files: Iterable<File>) => {
    for (const file of files) begin(file, onStored).catch(notify);
  };
  return (
    <section
      class={isOver.value ? "drop over" : "drop"}
      aria-label="Upload"
      onDragOver={(event) => {
        event.preventDefault();
        isOver.value = true;
      }}
      onDragLeave={() => {
        isOver.value = false;
      }}
      onDrop={(event) => {
        event.preventDefault();
        isOver.value = false;
        filesOf(event.dataTransfer).then(add, notify);
      }}
    >
      <label>
        Drop files or a folder here, or{" "}
        <input
          type="file"
          multiple
          onChange={({ currentTarget }) => {
            add(currentTarget.files ?? []);
            currentTarget.value = "";
          }}
        />
      </label>
      <ul>
        {entries.value.map((entry, i) => (
          <Row key={i} entry={entry} />
        ))}
      </ul>
      <Interrupted />
    </section>
  );
}

/** Where tus-js-client keeps what it needs to go on with an upload. */
const KEPT = "tus::";

interface Kept {
  key: string;
  filename: string;
  bytes: number;
}

/** The uploads that this browser has begun, and that no upload of this page goes on with. */
function readKept(): Kept[] {
  return Object.keys(localStorage)
    .filter((key) => key.startsWith(KEPT))
    .flatMap((key) => {
      try {
        const kept: { size: number; metadata: { filename?: string } } = JSON.parse(
          localStorage.getItem(key) ?? "",
        );
        return [{ key, filename: kept.metadata.filename ?? "", bytes: kept.size }];
      } catch {
        return [];
      }
    })
    .filter(
      ({ filename, bytes }) => !entries.value.some((one) => one.name === filename && one.bytes === bytes),
    );
}

function Interrupted() {
  const kept = useSignal(readKept());
  useSignalEffect(() => {
    kept.value = readKept();
  });
  return (
    <ul>
      {kept.value.map(({ key, filename, bytes }) => (
        <li key={key}>
          <span>
            {filename} (<Size bytes={bytes} />) was interrupted. Choose it again, and it goes on.
          </span>
          <button
            type="button"
            class="quiet"
            onClick={() => {
              localStorage.removeItem(key);
              kept.value = readKept();
            }}
          >
            Forget
          </button>
        </li>
      ))}
    </ul>
  );
}

function Row({ entry: { name, bytes, sent, speed, state, upload } }: { entry: Entry }) {
  const toggle = () => {
    if (state.value === "sending") {
      state.value = "paused";
      upload.abort().catch(notify);
    } else {
      state.value = "sending";
      upload.start();
    }
  };
  return (
    <li>
      <span>{name}</span>
      <progress max={bytes || 1} value={state.value === "done" ? bytes || 1 : sent.value} aria-label={name} />
      <span class="faint">
        <Size bytes={sent.value} /> of <Size bytes={bytes} />
        {state.value === "sending" && speed.value > 0 && (
          <>
            , <Size bytes={Math.round(speed.value)} />
            /s
          </>
        )}
        , {state}
      </span>
      {(state.value === "sending" || state.value === "paused" || state.value === "failed") && (
        <button type="button" class="quiet" onClick={toggle}>
          {state.value === "sending" ? "Pause" : "Resume"}
        </button>
      )}
    </li>
  );
}

async function begin(file: File, onStored: () => void): Promise<void> {
  const { Upload: Client } = await import("tus-js-client");
  const sent = signal(0);
  const speed = signal(0);
  const state = signal<"sending" | "paused" | "done" | "failed">("sending");
  let start: { atMs: number; bytes: number } | undefined;
  const upload = new Client(file, {
    endpoint: `${location.origin}/uploads`,
    chunkSize: CHUNK_BYTES,
    retryDelays: RETRY_DELAYS_MS,
    removeFingerprintOnSuccess: true,
    metadata: { filename: file.name, filetype: file.type },
    onProgress(bytes) {
      start ??= { atMs: performance.now(), bytes };
      sent.value = bytes;
      const seconds = (performance.now() - start.atMs) / 1_000;
      if (seconds > 0.5) speed.value = (bytes - start.bytes) / seconds;
    },
    onSuccess() {
      state.value = "done";
      onStored();
    },
    onError(error) {
      state.value = "failed";
      notify(error);
    },
  });
  entries.value = [...entries.value, { name: file.name, bytes: file.size, sent, speed, state, upload }];
  const [previous] = await upload.findPreviousUploads();
  if (previous) upload.resumeFromPreviousUpload(previous);
  upload.start();
}

/** The files that were dropped, those in folders too. */
async function filesOf(data: DataTransfer | null): Promise<File[]> {
  const items = [...(data?.items ?? [])].map((item) => item.webkitGetAsEntry());
  const found = await Promise.all(items.map(async (item) => (item ? filesIn(item) : [])));
  return found.flat();
}

async function filesIn(item: FileSystemEntry): Promise<File[]> {
  if (isFile(item)) return [await new Promise<File>((resolve, reject) => item.file(resolve, reject))];
  if (!isDirectory(item)) return [];
  const reader = item.createReader();
  const files: File[] = [];
  for (;;) {
    // It gives them a hundred at a time.
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (some.length === 0) return files;
    for (const entry of some) files.push(...(await filesIn(entry)));
  }
}

// Chromium has no global names for their classes.
const isFile = (item: FileSystemEntry): item is FileSystemFileEntry => item.isFile;
const isDirectory = (item: FileSystemEntry): item is FileSystemDirectoryEntry => item.isDirectory;
