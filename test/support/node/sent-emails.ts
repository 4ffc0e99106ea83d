/**
 * The e-mails that the local binding has written to files, for tests inside workerd: a `GET` of `/{messageId}` responds
 * with the files of that message by kind (`text`, `html`, `attachment`), as base64.
 */
import { globSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** A file may be there before its bytes are. No test sends an empty one. */
const MAX_TRIES = 40;
const PAUSE_MS = 25;

/** The service binding SENT_EMAILS. */
export async function sentEmails(request: { url: string }): Promise<Response> {
  const id = decodeURIComponent(new URL(request.url).pathname.slice(1)).replaceAll(/^<|>$/g, "");
  for (let tries = 1; ; tries++) {
    const paths = globSync(join(tmpdir(), "miniflare-*", "email", "*", `${id}*`)).toSorted();
    const files = paths.map((path) => ({
      kind: basename(dirname(path)).replace("email-", ""),
      base64: readFileSync(path).toString("base64"),
    }));
    if (files.every(({ base64 }) => base64 !== "") || tries === MAX_TRIES) return Response.json(files);
    await sleep(PAUSE_MS);
  }
}
