/**
 * The e-mails that the local binding has written to files, for tests inside workerd: a `GET` of `/{messageId}` responds
 * with the files of that message by kind (`text`, `html`, `attachment`), as base64.
 */
import { globSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";

/** The service binding SENT_EMAILS. */
export function sentEmails(request: { url: string }): Response {
  const id = decodeURIComponent(new URL(request.url).pathname.slice(1)).replaceAll(/^<|>$/g, "");
  const paths = globSync(join(tmpdir(), "miniflare-*", "email", "*", `${id}*`)).toSorted();
  const files = paths.map((path) => ({
    kind: basename(dirname(path)).replace("email-", ""),
    base64: readFileSync(path).toString("base64"),
  }));
  return Response.json(files);
}
