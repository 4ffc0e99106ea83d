/** Form data written by hand, so that every byte of it can be wrong. */
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

export const fieldPart = (name: string, body: string): Part => ({ disposition: `name="${name}"`, body });

export function formBody(parts: Part[], end = `--${BOUNDARY}--\r\n`): string {
  return parts.map((part) => `${partHead(part)}${part.body}\r\n`).join("") + end;
}

function partHead({ disposition, type }: Part): string {
  const contentType = type === undefined ? "" : `Content-Type: ${type}\r\n`;
  return `--${BOUNDARY}\r\nContent-Disposition: form-data; ${disposition}\r\n${contentType}\r\n`;
}

/** A form with one part whose header has exactly these lines. */
export const rawForm = (lines: string[], body: string) =>
  `--${BOUNDARY}\r\n${lines.map((line) => `${line}\r\n`).join("")}\r\n${body}\r\n--${BOUNDARY}--\r\n`;

/** A form with one file, `chunkCount` times `chunk`, generated while it is read. */
export function streamedForm(
  chunk: Uint8Array,
  chunkCount: number,
  onPull?: (handedOut: number) => void | Promise<void>,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const head = encoder.encode(partHead(filePart("")));
  const end = encoder.encode(`\r\n--${BOUNDARY}--\r\n`);
  return streamOf([head, ...Array.from({ length: chunkCount }, () => chunk), end], onPull);
}

/** A body that yields each chunk on request. `onPull` gets the bytes so far; if it throws, the body breaks off. */
export function streamOf(
  chunks: Iterable<Uint8Array>,
  onPull: (handedOut: number) => void | Promise<void> = () => {},
): ReadableStream<Uint8Array> {
  const iterator = chunks[Symbol.iterator]();
  let handedOut = 0;
  return new ReadableStream({
    type: "bytes",
    async pull(controller) {
      await onPull(handedOut);
      const { done, value } = iterator.next();
      if (done) {
        controller.close();
        controller.byobRequest?.respond(0);
      } else {
        handedOut += value.length;
        // A copy, because the stream transfers the buffer.
        controller.enqueue(new Uint8Array(value));
      }
    },
  });
}
