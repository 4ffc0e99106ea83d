/**
 * The pages of a PDF as pictures. Browsers have a viewer, but it is a plug-in, which neither the policy of this page nor that
 * of served files lets run. So PDF.js draws a page on a canvas; it is loaded when it is asked for, and evaluates no code.
 */
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { PDFDocumentProxy } from "unpdf/pdfjs";
import { call } from "../lib/api.ts";
import { act } from "../lib/notices.tsx";
import { Size } from "../lib/size.tsx";

/** It is read as a whole. */
const MAX_BYTES = 20 * 1024 * 1024;
const MAX_WIDTH = 900;

export function PdfPreview({ path, bytes }: { path: string; bytes: number }) {
  const document = useSignal<PDFDocumentProxy | undefined>(undefined);
  const isLoading = useSignal(false);
  const load = act(async () => {
    isLoading.value = true;
    try {
      document.value = await open(path);
    } finally {
      isLoading.value = false;
    }
  });
  if (bytes > MAX_BYTES)
    return (
      <p class="faint">
        A PDF of more than <Size bytes={MAX_BYTES} /> has no preview.
      </p>
    );
  if (document.value) return <Pages document={document.value} />;
  return (
    <p class="controls">
      <button type="button" class="quiet" disabled={isLoading} onClick={load}>
        Show the pages
      </button>
    </p>
  );
}

async function open(path: string): Promise<PDFDocumentProxy> {
  const [{ getDocument }, response] = await Promise.all([import("unpdf/pdfjs"), call(path)]);
  const data = new Uint8Array(await response.arrayBuffer());
  return getDocument({ data, verbosity: 0, useSystemFonts: true, useWasm: false }).promise;
}

function Pages({ document }: { document: PDFDocumentProxy }) {
  const number = useSignal(1);
  const canvas = useRef<HTMLCanvasElement>(null);
  const shown = useSignal(0);
  useEffect(() => {
    const draw = act(async () => {
      const wanted = number.value;
      const page = await document.getPage(wanted);
      const { width } = page.getViewport({ scale: 1 });
      const viewport = page.getViewport({ scale: Math.min(2, MAX_WIDTH / width) });
      const target = canvas.current;
      if (!target || number.value !== wanted) return;
      target.width = viewport.width;
      target.height = viewport.height;
      await page.render({ canvas: target, viewport }).promise;
      shown.value = wanted;
    });
    draw();
  }, [document, number.value]);
  const turn = (by: number) => () => {
    number.value += by;
  };
  return (
    <>
      <p class="controls">
        <button type="button" class="quiet" disabled={number.value <= 1} onClick={turn(-1)}>
          Previous
        </button>
        <span role="status">
          Page {shown.value || "…"} of {document.numPages}
        </span>
        <button type="button" class="quiet" disabled={number.value >= document.numPages} onClick={turn(1)}>
          Next
        </button>
      </p>
      <canvas ref={canvas} class="preview" role="img" aria-label={`Page ${number.value}`} />
    </>
  );
}
