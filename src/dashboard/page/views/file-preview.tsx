/** A preview of a file: media and pixels as the browser shows them, the beginning of text as text. Nothing of a file runs. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { ApiError, call } from "../lib/api.ts";
import { parseCsv } from "../lib/csv.ts";
import { kindOf } from "../lib/file-kind.ts";
import { notify } from "../lib/notices.tsx";
import { Size } from "../lib/size.tsx";
import type { FileLine } from "../lib/types.ts";
import { PdfPreview } from "./pdf-preview.tsx";

const PREVIEW_BYTES = 64 * 1024;
const MAX_ROWS = 100;

export function FilePreview({
  path,
  file: { contentType, filename, size },
}: {
  path: string;
  file: FileLine;
}) {
  const source = `${path}?disposition=inline`;
  switch (kindOf(contentType)) {
    case "image":
      return <img class="preview" src={source} alt={`Preview of ${filename}`} />;
    case "audio":
      // oxlint-disable-next-line jsx-a11y/media-has-caption -- nobody knows what the file says
      return <audio class="preview" src={source} controls aria-label={filename} />;
    case "video":
      // oxlint-disable-next-line jsx-a11y/media-has-caption -- nobody knows what the file says
      return <video class="preview" src={source} controls aria-label={filename} />;
    case "pdf":
      return <PdfPreview path={path} bytes={size} />;
    case "csv":
      return <TextPreview path={path} bytes={size} isCsv />;
    case "text":
      return <TextPreview path={path} bytes={size} />;
    case "none":
      return <p class="faint">There is no preview of {contentType}.</p>;
  }
}

interface TextProps {
  path: string;
  /** Of the whole file. */
  bytes: number;
  isCsv?: boolean;
}

function TextPreview({ path, bytes, isCsv }: TextProps) {
  const text = useSignal("");
  useEffect(() => {
    const read = async () => {
      text.value = await readStart(path);
    };
    read().catch(notify);
  }, [path]);
  return (
    <>
      {isCsv ? <CsvTable text={text.value} /> : <pre tabIndex={0}>{text}</pre>}
      {bytes > PREVIEW_BYTES && (
        <p class="faint">
          The first <Size bytes={PREVIEW_BYTES} />.
        </p>
      )}
    </>
  );
}

async function readStart(path: string): Promise<string> {
  try {
    // A browser that has kept a part of one version may put it before that of another.
    const headers = { Range: `bytes=0-${PREVIEW_BYTES - 1}` };
    const response = await call(path, { headers, cache: "no-store" });
    return await response.text();
  } catch (error) {
    // An empty file has no first byte.
    if (error instanceof ApiError && error.status === 416) return "";
    throw error;
  }
}

/** The first row is taken to name the columns. */
function CsvTable({ text }: { text: string }) {
  const [head = [], ...rows] = parseCsv(text);
  return (
    <>
      <div class="scroll" tabIndex={0} role="group" aria-label="The first rows">
        <table>
          <thead>
            <tr>
              {head.map((cell, i) => (
                <th key={i} scope="col">
                  {cell}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.slice(0, MAX_ROWS).map((row, i) => (
              <tr key={i}>
                {row.map((cell, j) => (
                  <td key={j}>{cell}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {rows.length > MAX_ROWS && <p class="faint">The first {MAX_ROWS} rows.</p>}
    </>
  );
}
