/**
 * Templates: JSON whose strings may have placeholders, which are filled in with what a task was given and what it returned.
 *
 *     "{{result.file.id}}"              alone, it is the value itself, whatever its type
 *     "{{result.rows}} rows"            inside text, it is the value's text, or else its JSON
 *     "{{input.to.0}}"                  a member of an array by its number
 *     "\\{{name}}"                      two braces that begin no placeholder
 *
 * Names of members are no templates. What is filled in is a value: braces in it mean nothing.
 */

/** What placeholders can name: the input as it was submitted, and the result as it is kept. */
export interface Scope {
  input: unknown;
  result: unknown;
}

/** Where in a template a placeholder is, and the path in it: `["result", "file", "id"]`. */
export interface Placeholder {
  at: string[];
  path: string[];
}

/** A placeholder that cannot be read, or that leads nowhere. */
export class PlaceholderError extends Error {
  override readonly name = "PlaceholderError";
}

/** An escaped pair of braces, a placeholder, or a pair that nothing closes. */
const TOKEN = /\\\{\{|\{\{([^{}]*)\}\}|\{\{/g;
const ALONE = /^\{\{([^{}]*)\}\}$/;
const PATH = /^(?:result|input)(?:\.[^.]+)*$/;

/** Throws a `PlaceholderError` if it is not a path. */
function readPath(inner: string | undefined, token: string): string[] {
  const path = inner?.trim() ?? "";
  if (PATH.test(path)) return path.split(".");
  throw new PlaceholderError(
    `${token} is not a placeholder: write {{result.…}} or {{input.…}}, or \\{{ for the braces themselves`,
  );
}

/** The placeholders of a template, and what cannot be read as one. */
export function placeholdersIn(template: unknown): {
  placeholders: Placeholder[];
  errors: { at: string[]; detail: string }[];
} {
  const placeholders: Placeholder[] = [];
  const errors: { at: string[]; detail: string }[] = [];
  const open: { value: unknown; at: string[] }[] = [{ value: template, at: [] }];
  for (let next = open.pop(); next; next = open.pop()) {
    const { value, at } = next;
    if (typeof value === "string") {
      for (const [token, inner] of value.matchAll(TOKEN)) {
        if (token === "\\{{") continue;
        try {
          placeholders.push({ at, path: readPath(inner, token) });
        } catch (error) {
          if (!(error instanceof PlaceholderError)) throw error;
          errors.push({ at, detail: error.message });
        }
      }
    } else if (typeof value === "object" && value !== null) {
      for (const [name, member] of Object.entries(value)) open.push({ value: member, at: [...at, name] });
    }
  }
  return { placeholders, errors };
}

/** Throws a `PlaceholderError` if the path leads nowhere. */
export function valueAt(scope: Scope, path: readonly string[]): unknown {
  let value: unknown = scope;
  for (const [i, name] of path.entries()) {
    if (typeof value !== "object" || value === null || !hasMember(value, name)) {
      const parent = path.slice(0, i).join(".");
      throw new PlaceholderError(
        `The placeholder {{${path.join(".")}}} leads nowhere: ${parent} has no ${JSON.stringify(name)}.`,
      );
    }
    value = Reflect.get(value, name);
  }
  return value;
}

const hasMember = (value: object, name: string) =>
  Array.isArray(value) ? /^\d+$/.test(name) && Number(name) < value.length : Object.hasOwn(value, name);

/**
 * Fills in a template; both are JSON text. Throws a `PlaceholderError` if a placeholder leads nowhere, and a `RangeError` if
 * more than `maxLength` characters would be filled in.
 */
export function fillTemplate(text: string, scope: Scope, maxLength: number): string {
  if (!text.includes("{{")) return text;
  let left = maxLength;
  const take = (filled: string) => {
    left -= filled.length;
    if (left < 0) throw new RangeError(`more than ${maxLength} characters are filled in`);
    return filled;
  };
  const fillText = (template: string): unknown => {
    const alone = ALONE.exec(template);
    if (alone) {
      const value = valueAt(scope, readPath(alone[1], template));
      take(JSON.stringify(value));
      return value;
    }
    return template.replaceAll(TOKEN, (token: string, inner: string | undefined) => {
      if (token === "\\{{") return "{{";
      const value = valueAt(scope, readPath(inner, token));
      return take(typeof value === "string" ? value : JSON.stringify(value));
    });
  };
  return JSON.stringify(
    JSON.parse(text, (_name, value: unknown) => (typeof value === "string" ? fillText(value) : value)),
  );
}
