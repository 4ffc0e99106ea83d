/**
 * An e-mail as the binding takes it. The platform makes the MIME message of it, and encodes what is not ASCII.
 *
 * Memory: the whole message is held, and it is at most as long as the platform takes.
 */
import { NonRetryableError } from "../../tasks/index.ts";
import { openSource } from "../support/sources.ts";
import type { EmailInput, Mailbox } from "./email-input.ts";

/** What the platform takes to verified addresses, in bytes, attachments encoded. To others it takes a fifth of that. */
const MAX_MESSAGE_BYTES = 25 * 1024 * 1024;
/** In base64, 57 bytes are a line of 76 characters and its end. */
const ENCODED_RATIO = 78 / 57;

const MEDIA_TYPE = /^[\w!#$&^.+-]{1,127}\/[\w!#$&^.+-]{1,127}/;

interface Composing {
  input: EmailInput;
  sender: Mailbox;
  taskId: string;
  signal: AbortSignal;
}

/** Reads the attachments. Throws a `NonRetryableError` if one is missing, or if the message is too long. */
export async function composeEmail({
  input,
  sender,
  taskId,
  signal,
}: Composing): Promise<EmailMessageBuilder> {
  const html = input.markdown === undefined ? input.html : await renderMarkdown(input.markdown);
  const text = input.text ?? input.markdown;
  const attachments = await attach(signal, input, Buffer.byteLength(`${html ?? ""}${text ?? ""}`));
  return {
    from: sender,
    ...recipientsOf(input),
    subject: input.subject,
    headers: { "X-Sluice-Task": taskId },
    ...(input.reply_to && { replyTo: toAddress(input.reply_to) }),
    ...(text !== undefined && { text }),
    ...(html !== undefined && { html }),
    ...(attachments.length > 0 && { attachments }),
  };
}

/** `size`: how long the rest of the message is, in bytes. */
async function attach(signal: AbortSignal, input: EmailInput, size: number): Promise<EmailAttachment[]> {
  const attachments: EmailAttachment[] = [];
  for (const { fileId, filename } of input.attachments) {
    const source = await openSource(signal, fileId);
    const { info } = source;
    size += info.size * ENCODED_RATIO;
    if (size > MAX_MESSAGE_BYTES)
      throw new NonRetryableError(
        `With ${fileId} the e-mail is longer than ${MAX_MESSAGE_BYTES} bytes. Send a link to the file instead.`,
      );
    attachments.push({
      disposition: "attachment",
      filename: filename ?? info.filename,
      type: MEDIA_TYPE.exec(info.contentType)?.[0] ?? "application/octet-stream",
      content: await source.bytes({ offset: 0, length: info.size }),
    });
  }
  return attachments;
}

const toAddress = (mailbox: Mailbox): string | EmailAddress => mailbox;

/** Those that there are. The schema has seen that there is one. */
function recipientsOf({ to, cc, bcc }: EmailInput): EmailDestinations {
  return { to, ...(cc.length > 0 && { cc }), ...(bcc.length > 0 && { bcc }) };
}

async function renderMarkdown(markdown: string): Promise<string> {
  const { Marked } = await import("marked");
  return new Marked({ gfm: true }).parse(markdown, { async: true });
}
