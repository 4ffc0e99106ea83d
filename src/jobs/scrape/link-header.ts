/**
 * The target of `rel=next` in a Link header (RFC 8288 §3): `<https://api.example.com/items?page=2>; rel="next"`.
 *
 * What is malformed is passed over, up to the next comma outside of quotes.
 */

/** One link: its target, and its parameters as they are written. */
const LINK = /<([^<>]*)>((?:[^,"<]|"(?:[^"\\]|\\.)*")*)/g;
const PARAMETER = /;\s*([\w*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))/g;

/** As it is written; undefined if there is none. */
export function nextLink(header: string | null): string | undefined {
  for (const [, target = "", parameters = ""] of (header ?? "").matchAll(LINK))
    if (relationsOf(parameters).includes("next")) return target;
  return undefined;
}

/** The relation types; none if the link starts from something else than the page. The first `rel` counts. */
function relationsOf(parameters: string): string[] {
  let relations: string | undefined;
  for (const [, name = "", quoted, token] of parameters.matchAll(PARAMETER)) {
    if (name.toLowerCase() === "anchor") return [];
    if (name.toLowerCase() === "rel") relations ??= quoted ?? token;
  }
  return (relations ?? "").toLowerCase().split(/\s+/);
}
