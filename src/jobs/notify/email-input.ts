/** The input of `send_email`. What it accepts cannot break out of a header, and goes to nobody who is not allowed. */
import { env } from "cloudflare:workers";
import { z } from "zod";
import { fileId } from "../support/schemas.ts";
import { addressSchema, readEmailSettings, recipientError, senderError } from "./email-settings.ts";

/** The limits of Cloudflare's e-mail. */
const MAX_RECIPIENTS = 50;
const MAX_ATTACHMENTS = 32;
const MAX_SUBJECT_LENGTH = 998;
const MAX_NAME_LENGTH = 255;

/** No line breaks and other controls, and no half characters. */
const lineOf = (maxLength: number) =>
  z
    .string()
    .min(1)
    .max(maxLength)
    .refine((text) => text.isWellFormed() && !/[\p{Cc}\p{Zl}\p{Zp}]/u.test(text), {
      message: "one line of text, without control characters",
    });

const mailboxSchema = z.union(
  [addressSchema, z.strictObject({ email: addressSchema, name: lineOf(MAX_NAME_LENGTH) })],
  { error: 'an e-mail address, or {"email": …, "name": …} with a name of one line' },
);
const mailboxesSchema = z.union([mailboxSchema.transform((mailbox) => [mailbox]), z.array(mailboxSchema)], {
  error: 'an e-mail address, {"email": …, "name": …}, or an array of these',
});

export type Mailbox = z.output<typeof mailboxSchema>;

export const addressOf = (mailbox: Mailbox) => (typeof mailbox === "string" ? mailbox : mailbox.email);

const attachmentSchema = z.strictObject({
  fileId,
  filename: lineOf(MAX_NAME_LENGTH).optional().meta({ description: "Default: the name of the file." }),
});

export const emailInputSchema = z
  .strictObject({
    to: mailboxesSchema.refine((to) => to.length > 0, { message: "an e-mail needs a recipient" }),
    cc: mailboxesSchema.default([]),
    bcc: mailboxesSchema.default([]),
    reply_to: mailboxSchema.optional(),
    from: mailboxSchema.optional().meta({ description: "One of EMAIL_FROM. Default: the first of them." }),
    subject: lineOf(MAX_SUBJECT_LENGTH),
    text: z.string().optional(),
    html: z.string().optional(),
    markdown: z.string().optional().meta({ description: "Sent as HTML, and as it is for who reads text." }),
    attachments: z.array(attachmentSchema).max(MAX_ATTACHMENTS).default([]),
  })
  .superRefine((input, refinement) => {
    for (const { at, message } of errorsOf(input)) refinement.addIssue({ code: "custom", path: at, message });
  })
  .meta({
    examples: [
      {
        to: ["ada@example.com", { email: "bob@example.com", name: "Bob" }],
        subject: "The report of today",
        markdown: "It is **attached**.",
        attachments: [{ fileId: "report.pdf" }],
      },
    ],
  });

export type EmailInput = z.output<typeof emailInputSchema>;

function errorsOf(input: EmailInput): { at: (string | number)[]; message: string }[] {
  const settings = readEmailSettings(env);
  const errors: { at: (string | number)[]; message: string | undefined }[] = (
    ["to", "cc", "bcc"] as const
  ).flatMap((field) =>
    input[field].map((mailbox, i) => ({
      at: [field, i],
      message: recipientError(settings, addressOf(mailbox)),
    })),
  );
  const count = errors.length;
  const add = (at: string, isWrong: boolean, message: string) =>
    errors.push({ at: [at], message: isWrong ? message : undefined });
  add("to", count > MAX_RECIPIENTS, `an e-mail has at most ${MAX_RECIPIENTS} recipients, with cc and bcc`);
  const { text, html, markdown, from } = input;
  add("text", (text ?? html ?? markdown) === undefined, "an e-mail needs text, html or markdown");
  add("markdown", html !== undefined && markdown !== undefined, "give html or markdown, and not both");
  if (from) errors.push({ at: ["from"], message: senderError(settings, addressOf(from)) });
  return errors.flatMap(({ at, message }) => (message === undefined ? [] : [{ at, message }]));
}
