/**
 * The Content-Disposition of a part of a form (RFC 7578 §4.2). It is read the browsers' way if that gives a list of
 * parameters, else as quoted strings. If neither does, it is rejected, so that no file can pass for a field.
 */
import { Problem } from "../../kernel/problem.ts";
import { BROWSER_QUOTES, filenameOf, QUOTED_STRING, readParameters } from "../store/disposition.ts";

export interface FormDisposition {
  name: string;
  /** Undefined for a field; "" if nothing in it can be decoded. */
  filename: string | undefined;
}

/** Throws a `Problem` 400 unless it is `form-data` with a name, and has each parameter at most once. */
export function parseFormDisposition(text: string): FormDisposition {
  const [type = ""] = text.split(";", 1);
  if (type.trim().toLowerCase() !== "form-data") throw malformed("is not form-data");
  const list = text.slice(type.length).trim();
  const parameters = readParameters(list, [BROWSER_QUOTES, QUOTED_STRING], malformed);
  const name = parameters.get("name");
  if (name === undefined) throw malformed("has no name");
  const filename = filenameOf(parameters);
  return { name, filename: filename === null ? "" : filename };
}

const malformed = (reason: string) =>
  new Problem("malformed", `The Content-Disposition of a part of the form ${reason}.`);
