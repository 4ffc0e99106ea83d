/**
 * The media type of a file: what its uploader says it is, parameters included, such as
 * `text/plain; charset=iso-8859-1`. It is stored and given back, and nothing here looks at the bytes: content.ts does, for
 * those who restrict types.
 */
import { format, parse } from "content-type";

const UNKNOWN_TYPE = "application/octet-stream";
const MAX_TYPE_LENGTH = 127;
/** Of the type with its parameters. */
const MAX_LENGTH = 1000;

/** RFC 6838 §4.2. */
const TYPE = /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+$/;
const PARAMETER_NAME = /^[\w!#$%&'*+.^`|~-]+$/;
const PARAMETER_VALUE = /^[\t\x20-\x7e]+$/;

/**
 * The media type that a client sent, in one form: names in lower case, `; ` between parameters, quotes only where they
 * are needed. `application/octet-stream` if it is not a media type. A parameter that is malformed or empty is left out.
 */
export function cleanMediaType(sent: string | null | undefined): string {
  const { type, parameters } = parse(sent ?? "");
  if (type.length > MAX_TYPE_LENGTH || !TYPE.test(type)) return UNKNOWN_TYPE;
  const kept = Object.entries(parameters).filter(
    ([name, value]) => PARAMETER_NAME.test(name) && PARAMETER_VALUE.test(value ?? ""),
  );
  const clean = format({ type, parameters: Object.fromEntries(kept) });
  return clean.length <= MAX_LENGTH ? clean : UNKNOWN_TYPE;
}

/** The type without its parameters, in lower case. */
export const essenceOf = (type: string): string => parse(type, { parameters: false }).type;

/** The `charset` of a type; undefined if it says none. */
export const charsetOf = (type: string): string | undefined => parse(type).parameters.charset || undefined;

/** Text that says its charset itself, in its first bytes: a parameter would overrule that. */
const SELF_DESCRIBING = new Set(["text/html", "text/xml", "text/css"]);

/** The `Content-Type` to serve a file with. Text whose charset nobody said is UTF-8: browsers would guess otherwise. */
export function servedType(type: string): string {
  const essence = essenceOf(type);
  const isPlain = essence.startsWith("text/") && !SELF_DESCRIBING.has(essence);
  return isPlain && charsetOf(type) === undefined ? `${type}; charset=utf-8` : type;
}
