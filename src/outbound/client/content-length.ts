/**
 * The length of a message's body, in bytes, or undefined if its headers do not say it. A Content-Length that is
 * repeated with the same value counts once (RFC 9110 §8.6); beside a Transfer-Encoding it means nothing (RFC 9112
 * §6.3).
 */
export function contentLength(headers: Headers): number | undefined {
  if (headers.has("transfer-encoding")) return undefined;
  const [first = "", ...others] = (headers.get("content-length") ?? "")
    .split(",")
    .map((value) => value.trim());
  return /^\d+$/.test(first) && others.every((value) => value === first) ? Number(first) : undefined;
}
