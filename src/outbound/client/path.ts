import { Problem } from "../../kernel/problem.ts";
import type { Upstream } from "../upstreams.ts";

/** An upstream's origin. Those that are bound, not addressed, see their requests under one that exists nowhere. */
export function originOf({ target }: Upstream): string {
  return "origin" in target ? target.origin : "http://upstream.internal";
}

/**
 * Where a call for `path` (with its query) goes: always on the upstream's origin, under one of its prefixes. Throws a
 * 400 for a path that another server could read otherwise than it is written, and a 403 for one that is not allowed.
 */
export function targetOf(upstream: Upstream, path: string): URL {
  const [pathname, search] = split(path);
  const detail = faultOf(pathname);
  if (detail !== undefined) throw new Problem("malformed", detail);
  const isAllowed = [pathname, asReadByOthers(pathname)].every((reading) =>
    isUnder(upstream.pathPrefixes, reading),
  );
  if (!isAllowed) {
    throw new Problem(
      "forbidden",
      `"${upstream.name}" may be called under ${upstream.pathPrefixes.join(", ")} only.`,
    );
  }
  const origin = originOf(upstream);
  const url = new URL(`${origin}${pathname}${search}`);
  // Belt and braces: nothing that is left in a path now can change the origin.
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

function faultOf(pathname: string): string | undefined {
  if (!pathname.startsWith("/")) return "The path must begin with a slash.";
  if (pathname.includes("//")) return "The path has an empty segment (//).";
  if (/[\\#]|[^\x21-\x7e]/.test(pathname)) {
    return "The path has a backslash, a # or a character that must be percent-encoded.";
  }
  if (/%(?![0-9a-f]{2})/i.test(pathname)) return "The path has a percent sign that encodes nothing.";
  if (/%25(25){3}/i.test(pathname)) return "The path is encoded too often.";
  if (!isUtf8(pathname)) return "The path is not UTF-8 when it is decoded.";
  const decoded = decodeFully(pathname);
  const segments = asReadByOthers(pathname).split("/");
  if (segments.length !== pathname.split("/").length || decoded.includes("\\")) {
    return "The path has an encoded slash or backslash.";
  }
  if (segments.some((segment) => segment === "." || segment === "..")) return "The path has a dot segment.";
  // oxlint-disable-next-line no-control-regex -- control characters are what this is about
  return /[\u0000-\u001f\u007f]/.test(decoded) ? "The path has an encoded control character." : undefined;
}

/** The path as a chain of servers might come to read it: decoded until nothing is left to, without path parameters. */
function asReadByOthers(pathname: string): string {
  return decodeFully(pathname)
    .split("/")
    .map((segment) => segment.replace(/;.*/s, ""))
    .join("/");
}

/** Only ASCII is decoded, which is all that means anything in a path, and so each round of it can stand by itself. */
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
