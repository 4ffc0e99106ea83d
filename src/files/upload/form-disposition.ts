/**
 * The Content-Disposition of a part of a form (RFC 7578 §4.2).
 *
 * Browsers put a value in quotes as it is, with `%22`, `%0D` and `%0A` for the characters that would end it (WHATWG
 * HTML §4.10.22.8). Older clients escape with a backslash (RFC 822 §3.3). A value is read the browsers' way if
 * possible, else with backslash escapes. If neither works it is rejected, so that no file can pass for a field.
 */
import { decodeExtended } from "content-disposition";
import { Problem } from "../../kernel/problem.ts";

export interface FormDisposition {
  name: string;
  /** Undefined for a field. `filename*` (RFC 8187) takes precedence; "" if nothing can be decoded. */
  filename: string | undefined;
}

/** Throws a `Problem` 400 unless it is `form-data` with a name, and has each parameter at most once. */
export function parseFormDisposition(text: string): FormDisposition {
  const [type = ""] = text.split(";", 1);
  if (type.trim().toLowerCase() !== "form-data") throw malformed("is not form-data");
  const parameters = readParameters(text.slice(type.length));
  const name = parameters.get("name");
  if (name === undefined) throw malformed("has no name");
  const extended = parameters.get("filename*");
  if (extended === undefined) return { name, filename: parameters.get("filename") };
  return { name, filename: decodeExtended(extended) ?? parameters.get("filename") ?? "" };
}

function readParameters(text: string): Map<string, string> {
  const parameters = new Map<string, string>();
  for (let rest = text.trim(); rest !== "" && rest !== ";"; ) {
    const [head = "", key = ""] = /^;[\t ]*([^\s=;"]+)=/.exec(rest) ?? [];
    if (head === "") throw malformed("cannot be read");
    const { value, length } = readValue(rest.slice(head.length));
    if (parameters.has(key.toLowerCase())) throw malformed(`has ${key} twice`);
    parameters.set(key.toLowerCase(), value);
    rest = rest.slice(head.length + length).trimStart();
  }
  return parameters;
}

/** The value at the start of `text`, and how many characters it takes up. */
function readValue(text: string): { value: string; length: number } {
  if (!text.startsWith('"')) {
    const [token = ""] = /^[^;"]*/.exec(text) ?? [];
    return { value: token.trim(), length: token.length };
  }
  const asIs = text.indexOf('"', 1);
  if (asIs !== -1 && endsThere(text, asIs + 1)) {
    const value = text
      .slice(1, asIs)
      .replaceAll("%22", '"')
      .replaceAll(/%0d/gi, "\r")
      .replaceAll(/%0a/gi, "\n");
    return { value, length: asIs + 1 };
  }
  for (let i = 1; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === '"') {
      if (!endsThere(text, i + 1)) break;
      return { value: text.slice(1, i).replaceAll(/\\(.)/gs, "$1"), length: i + 1 };
    }
  }
  throw malformed("has a value whose quotes are not closed");
}

/** Whether a parameter can end here: at the end of the text, or before the next parameter. */
const endsThere = (text: string, at: number) => /^[\t ]*(?:;|$)/.test(text.slice(at));

const malformed = (reason: string) =>
  new Problem("malformed", `The Content-Disposition of a part of the form ${reason}.`);
