/** The e-mails that the local binding has sent, read from the files in which it keeps them. */
import { env } from "cloudflare:test";

export interface SentFile {
  kind: "text" | "html" | "attachment";
  base64: string;
}

/** The files of a message, once there are `count` of them: the binding writes them after it has responded. */
export async function sentFiles(messageId: string, count: number): Promise<SentFile[]> {
  const { SENT_EMAILS } = env as unknown as { SENT_EMAILS: Fetcher };
  for (const untilMs = performance.now() + 10_000; ; await scheduler.wait(10)) {
    const response = await SENT_EMAILS.fetch(`http://emails/${encodeURIComponent(messageId)}`);
    const files = await response.json<SentFile[]>();
    if (files.length >= count) return files;
    if (performance.now() > untilMs) throw new Error(`${messageId} has ${files.length} files, not ${count}`);
  }
}

export const textOf = (files: SentFile[], kind: SentFile["kind"]): string[] =>
  files.filter((file) => file.kind === kind).map(({ base64 }) => Buffer.from(base64, "base64").toString());

/** The real binding, and what it was given. `before` may fail in its place. */
export function recordedBinding(before: () => void = () => {}) {
  const { EMAIL } = env as unknown as { EMAIL: SendEmail };
  const sent: EmailMessageBuilder[] = [];
  const send = async (message: EmailMessageBuilder) => {
    before();
    const result = await EMAIL.send(message);
    sent.push(message);
    return result;
  };
  return { sent, env: { ...env, EMAIL: { send } } as unknown as Env };
}
