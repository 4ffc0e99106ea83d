/** Form data, written out by hand, so that every byte of it can be wrong. */
const BOUNDARY = "----sluice-test-boundary";

export const FORM_TYPE = `multipart/form-data; boundary=${BOUNDARY}`;

export interface Part {
  /** The Content-Disposition, after `form-data; `. */
  disposition: string;
  type?: string;
  body: string;
}

export const filePart = (body: string, disposition = 'name="file"; filename="a.txt"'): Part => ({
  disposition,
  type: "text/plain",
  body,
});

export function formBody(parts: Part[], end = `--${BOUNDARY}--\r\n`): string {
  return parts.map((part) => `${partHead(part)}${part.body}\r\n`).join("") + end;
}

function partHead({ disposition, type }: Part): string {
  const contentType = type === undefined ? "" : `Content-Type: ${type}\r\n`;
  return `--${BOUNDARY}\r\nContent-Disposition: form-data; ${disposition}\r\n${contentType}\r\n`;
}

/** A form with one file, `chunkCount` times `chunk`, made while it is read. */
export function streamedForm(chunk: Uint8Array, chunkCount: number): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let next = -1;
  return new ReadableStream({
    pull(controller) {
      if (next === -1) controller.enqueue(encoder.encode(partHead(filePart(""))));
      else if (next < chunkCount) controller.enqueue(chunk);
      else {
        controller.enqueue(encoder.encode(`\r\n--${BOUNDARY}--\r\n`));
        controller.close();
      }
      next++;
    },
  });
}
