/** What the variables say about e-mail: who may get it, and as whom it is sent. Nobody and no one, by default. */
import { z } from "zod";
import { perEnv, readVariable } from "../../kernel/variables.ts";

/** The longest address that a mail server takes (RFC 5321 §4.5.3.1.3). */
const MAX_ADDRESS_LENGTH = 254;

/** One address, in ASCII. Nothing in it can end a header field. */
export const addressSchema = z.email("an e-mail address").max(MAX_ADDRESS_LENGTH);

const DOMAIN = /^\*@(?=.{1,250}$)(?:[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?\.)+[a-z\d-]{2,63}$/i;

const recipientsSchema = z
  .array(
    z.string().refine((text) => DOMAIN.test(text) || addressSchema.safeParse(text).success, {
      message: "must be an e-mail address, or *@ and a domain",
    }),
  )
  .default([]);

export interface EmailSettings {
  /** Addresses, and `*@domain`, in lower case. */
  recipients: readonly string[];
  /** Addresses, in lower case. The first is the default. */
  senders: readonly string[];
}

const toLowerCase = (texts: string[]) => texts.map((text) => text.toLowerCase());

export const readEmailSettings = perEnv(
  (env): EmailSettings => ({
    recipients: toLowerCase(readVariable(env, "EMAIL_RECIPIENTS", recipientsSchema)),
    senders: toLowerCase(readVariable(env, "EMAIL_FROM", z.array(addressSchema).default([]))),
  }),
);

/** Why no e-mail may go to an address; undefined if one may. A subdomain is another domain. */
export function recipientError({ recipients }: EmailSettings, address: string): string | undefined {
  const wanted = address.toLowerCase();
  const domain = wanted.slice(wanted.lastIndexOf("@"));
  if (recipients.includes(wanted) || recipients.includes(`*${domain}`)) return undefined;
  return recipients.length === 0
    ? "nobody may get e-mail from here yet: name the recipients in the variable EMAIL_RECIPIENTS"
    : `the variable EMAIL_RECIPIENTS does not allow ${address}`;
}

/** Why no e-mail may be sent as an address; undefined if one may. */
export function senderError({ senders }: EmailSettings, address: string): string | undefined {
  if (senders.includes(address.toLowerCase())) return undefined;
  return `e-mail may be sent only as one of EMAIL_FROM: ${senders.join(", ") || "which is empty"}`;
}

/** The binding, which is optional, and so not part of every `Env`. */
export const emailBinding = (env: Env & { EMAIL?: SendEmail }): SendEmail | undefined => env.EMAIL;

/** Why no e-mail can be sent at all; undefined if it can. */
export function emailUnavailable(env: Env): string | undefined {
  if (!emailBinding(env)) return "The binding EMAIL is missing: add [[send_email]] to wrangler.toml.";
  if (readEmailSettings(env).senders.length > 0) return undefined;
  return "No sender is allowed: name your addresses in the variable EMAIL_FROM.";
}
