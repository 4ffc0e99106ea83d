/** Files over HTTP. */
import { createHash } from "node:crypto";
import { type CallOptions, callForJson, callWorker } from "./call.ts";
import { FORM_TYPE } from "./form.ts";

export const sha256 = (bytes: Uint8Array | string) => createHash("sha256").update(bytes).digest("hex");

/** Stands for the ETag of a version that a test has yet to write. */
export const ETAG = '"the-etag"';

/** The headers, with the ETag of that version. */
export const withEtag = (headers: Record<string, string>, { headers: response }: { headers: Headers }) =>
  Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, value.replace(ETAG, String(response.get("ETag")))]),
  );

export const putFile = (id: string, body: BodyInit | null, options: CallOptions = {}) =>
  callForJson(`/files/${id}`, { method: "PUT", body, ...options });

export const postForm = (path: string, body: BodyInit | null, options: CallOptions = {}) =>
  callForJson(path, { method: "POST", body, headers: { "Content-Type": FORM_TYPE }, ...options });

/** Any request, with its response as text; `path` may be a whole URL. */
export async function fetchText(path: unknown, options?: CallOptions) {
  const url = new URL(String(path), "http://localhost");
  const { response, settled } = await callWorker(`${url.pathname}${url.search}`, options);
  // Not `text()`, which warns about types that are not text.
  const text = new TextDecoder().decode(await response.arrayBuffer());
  await settled();
  return { status: response.status, headers: response.headers, text };
}
