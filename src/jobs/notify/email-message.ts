/**
 * An e-mail as the binding takes it. The platform makes the MIME message of it, and encodes what is not ASCII.
 *
 * Memory: the whole message is held, and it is at most as long as the platform takes.
 */
import { openFile } from "../../files/index.ts";
import { NonRetryableError } from "../../tasks/index.ts";
import type { EmailInput, Mailbox } from "./email-input.ts";

/** What the platform takes to verified addresses, in bytes, attachments encoded. To others it takes a fifth of that. */
const MAX_MESSAGE_BYTES = 25 * 1024 * 1024;
/** In base64, 57 bytes are a line of 76 characters and its end. */
const ENCODED_RATIO = 78 / 57;

const MEDIA_TYPE = /^[\w!#$&^.+-]{1,127}\/[\w!#$&^.+-]{1,127}/;

interface Composing {
  env: Env;
  input: EmailInput;
  sender: Mailbox;
  taskId: string;
  signal: AbortSignal;
}

/** Reads the attachments. Throws a `NonRetryableError` if one is missing, or if the message is too long. */
export async function composeEmail({
  env,
  input,
  sender,
  taskId,
  signal,
}: Composing): Promise<EmailMessageBuilder> {
  const html = input.markdown === undefined ? input.html : await renderMarkdown(input.markdown);
  const text = input.text ?? input.markdown;
  let size = Buffer.byteLength(`${html ?? ""}${text ?? ""}`);
  const attachments: EmailAttachment[] = [];
  for (const { fileId, filename } of input.attachments) {
    signal.throwIfAborted();
    const file = await openFile(env, fileId);
    if (!file) throw new NonRetryableError(`There is no file ${fileId} to attach.`);
    size += file.info.size * ENCODED_RATIO;
    if (size > MAX_MESSAGE_BYTES) {
      await file.body.cancel();
      throw new NonRetryableError(
        `With ${fileId} the e-mail is longer than ${MAX_MESSAGE_BYTES} bytes. Send a link to the file instead.`,
      );
    }
    attachments.push({
      disposition: "attachment",
      filename: filename ?? (file.info.filename || fileId),
      type: MEDIA_TYPE.exec(file.info.contentType)?.[0] ?? "application/octet-stream",
      content: await new Response(file.body).arrayBuffer(),
    });
  }
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

const toAddress = (mailbox: Mailbox): string | EmailAddress => mailbox;

/** Those that there are. The schema has seen that there is one. */
function recipientsOf({ to, cc, bcc }: EmailInput): EmailDestinations {
  return { to, ...(cc.length > 0 && { cc }), ...(bcc.length > 0 && { bcc }) };
}

async function renderMarkdown(markdown: string): Promise<string> {
  const { Marked } = await import("marked");
  return new Marked({ gfm: true }).parse(markdown, { async: true });
}
