/**
 * Where a call goes. A path must not lead to another origin or out of its prefixes, however the upstream reads it.
 */
import { Problem } from "../../kernel/problem.ts";
import type { Upstream } from "../upstreams.ts";

/** An upstream's origin. A bound or embedded upstream has no address: it sees its requests under a made-up origin. */
export function originOf({ target }: Upstream): string {
  return "origin" in target ? target.origin : "http://upstream.internal";
}

/**
 * The URL of a call to `path` (with its query): always on the upstream's origin, under one of its prefixes. Throws a
 * 400 for a path that another server could read differently, and a 403 for a path that is not allowed.
 */
export function targetOf(upstream: Upstream, path: string): URL {
  const [pathname, search] = split(path);
  const error = validatePath(pathname);
  if (error !== undefined) throw new Problem("malformed", error);
  const isAllowed = [pathname, readLeniently(pathname)].every((reading) =>
    isUnder(upstream.pathPrefixes, reading),
  );
  if (!isAllowed) {
    throw new Problem(
      "forbidden",
      `The upstream "${upstream.name}" may be called under ${upstream.pathPrefixes.join(", ")} only.`,
    );
  }
  const origin = originOf(upstream);
  const url = new URL(`${origin}${pathname}${search}`);
  // Belt and braces: by now, nothing in the path can change the origin.
  if (url.origin !== origin || url.username !== "" || url.password !== "") {
    throw new Problem("malformed", "The path leaves its origin.");
  }
  return url;
}

function split(path: string): [string, string] {
  const at = path.indexOf("?");
  return at === -1 ? [path, ""] : [path.slice(0, at), path.slice(at)];
}

function isUnder(prefixes: readonly string[], pathname: string): boolean {
  return prefixes.some((prefix) => pathname.startsWith(prefix) || `${pathname}/` === prefix);
}

/** What is wrong with a path, if anything is. */
function validatePath(pathname: string): string | undefined {
  if (!pathname.startsWith("/")) return "The path must begin with a slash.";
  if (pathname.includes("//")) return "The path has an empty segment (//).";
  if (/[\\#]|[^\x21-\x7e]/.test(pathname)) {
    return "The path has a backslash, a # or a character that must be percent-encoded.";
  }
  if (/%(?![0-9a-f]{2})/i.test(pathname)) return "The path has a percent sign without two hex digits.";
  if (/%25(25){3}/i.test(pathname)) return "The path is percent-encoded too many times.";
  if (!isUtf8(pathname)) return "The path does not decode to UTF-8.";
  const decoded = decodeFully(pathname);
  const segments = readLeniently(pathname).split("/");
  if (segments.length !== pathname.split("/").length || decoded.includes("\\")) {
    return "The path has an encoded slash or backslash.";
  }
  if (segments.some((segment) => segment === "." || segment === "..")) return "The path has a dot segment.";
  // oxlint-disable-next-line no-control-regex -- this looks for control characters
  return /[\u0000-\u001f\u007f]/.test(decoded) ? "The path has an encoded control character." : undefined;
}

/** The path as a chain of lenient servers might read it: fully decoded, without path parameters. */
function readLeniently(pathname: string): string {
  return decodeFully(pathname)
    .split("/")
    .map((segment) => segment.replace(/;.*/s, ""))
    .join("/");
}

/** Decodes ASCII only. Nothing else has a meaning in a path, and so no round of decoding can fail. */
function decodeFully(text: string): string {
  const decoded = text.replaceAll(/%([0-7][0-9a-f])/gi, (_match, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return decoded === text ? text : decodeFully(decoded);
}

function isUtf8(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}
