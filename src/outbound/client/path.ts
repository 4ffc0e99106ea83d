/**
 * Where a call goes. A path must not lead to another origin or out of its prefixes, however the upstream reads it.
 *
 * A path is checked as it was sent, and as a chain of lenient servers might read it: decoded again and again, in any
 * normal form of Unicode, with path parameters removed, and with slashes merged. What some of them would take for
 * another path is refused.
 */
import { Problem } from "../../kernel/problem.ts";
import type { Upstream } from "../upstreams.ts";

/** An upstream's origin. A bound or embedded upstream has no address: it sees its requests under a made-up origin. */
export function originOf({ target }: Upstream): string {
  return "origin" in target ? target.origin : "http://upstream.internal";
}

/**
 * What follows `/fetch/{upstream}`, however that is encoded, in a URL, with its query, as it was sent. `new URL` would resolve dot segments
 * first, and so hide that the path has some. Without any path, it is the upstream's root.
 */
export function pathAfterUpstream(url: string): string {
  const path = url.replace(/^[^:/?#]+:\/\/[^/?#]*\/[^/?#]+\/[^/?#]+/, "");
  return path.startsWith("/") ? path : `/${path}`;
}

/**
 * The URL of a call to `path` (with its query): always on the upstream's origin, under one of its prefixes. Throws a
 * 400 for a path that another server could read differently, and a 403 for a path that is not allowed.
 */
export function targetOf(upstream: Upstream, path: string): URL {
  const [pathname, search] = split(path);
  const error = validatePath(pathname, upstream.encodedSlashes);
  if (error !== undefined) throw new Problem("malformed", error);
  if (!readings(pathname).every((reading) => isUnder(upstream.pathPrefixes, reading))) {
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
function validatePath(pathname: string, encodedSlashes: boolean): string | undefined {
  if (!pathname.startsWith("/")) return "The path must begin with a slash.";
  if (/[\\#]|[^\x21-\x7e]/.test(pathname)) {
    return "The path has a backslash, a # or a character that must be percent-encoded.";
  }
  if (/%(?![0-9a-f]{2})/i.test(pathname)) return "The path has a percent sign without two hex digits.";
  if (/%25(25){3}/i.test(pathname)) return "The path is percent-encoded too many times.";
  if (!isUtf8(pathname)) return "The path does not decode to UTF-8.";
  const decoded = decodeFully(pathname);
  const slash = encodedSlashes ? undefined : slashError(pathname, decoded);
  if (slash !== undefined) return slash;
  // oxlint-disable-next-line no-control-regex -- this looks for control characters
  if (/[\u0000-\u001f\u007f]/.test(decoded)) return "The path has an encoded control character.";
  if (decoded.includes("\\")) return "The path has an encoded backslash.";
  const hasDots = withoutParameters(decoded).some((segment) => /^ *\.\.? *$/.test(segment));
  return hasDots ? "The path has a dot segment." : undefined;
}

/** For an upstream that does not take such slashes as part of a name. */
function slashError(pathname: string, decoded: string): string | undefined {
  const advice = "An upstream whose paths have such slashes needs encoded_slashes = true in wrangler.toml.";
  if (pathname.includes("//")) return `The path has an empty segment (//). ${advice}`;
  const isSplit = decoded.split("/").length !== pathname.split("/").length;
  return isSplit ? `The path has an encoded slash. ${advice}` : undefined;
}

/** The segments of a path, however they are encoded, and without their parameters: for one that `targetOf` takes. */
export const segmentsOf = (pathname: string): string[] =>
  withoutParameters(decodeFully(pathname))
    .slice(1)
    .map((segment) => encodeURIComponent(segment.toWellFormed()));

/** The path as it was sent, and as lenient servers might read it. */
export function readings(pathname: string): string[] {
  const decoded = withoutParameters(decodeFully(pathname)).join("/");
  return [pathname, ...[pathname, decoded].map((path) => path.replaceAll(/\/+/g, "/")), decoded];
}

/** The segments of a path, each up to its first `;`. A server that decodes too early ends one at `?` and `#` too. */
const withoutParameters = (path: string): string[] =>
  path.split("/").map((segment) => segment.replace(/[;?#].*/s, ""));

/**
 * Decodes ASCII as often as possible. Nothing else has a meaning in a path, and so no round can fail, except
 * characters that some servers take for ASCII ones, such as the full-width `／` (Unicode's compatibility forms).
 */
function decodeFully(pathname: string): string {
  return decodeAscii(decodeAscii(decodeURIComponent(pathname)).normalize("NFKC"));
}

function decodeAscii(text: string): string {
  const decoded = text.replaceAll(/%([0-7][0-9a-f])/gi, (_match, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return decoded === text ? text : decodeAscii(decoded);
}

function isUtf8(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}
