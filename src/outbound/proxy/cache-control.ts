/** Cache-Control, read as RFC 9111 §5.2 says. */

/** The directives by name, in lower case; `true` is one without an argument. `doubtful` if the header is malformed. */
export interface Directives {
  get(name: string): string | true | undefined;
  has(name: string): boolean;
  isDoubtful: boolean;
}

/** RFC 9110 §5.6.2. */
const TOKEN = /[\w!#$%&'*+.^`|~-]+/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/y;

/**
 * Reads a list of directives: names in any case, arguments as tokens or quoted strings, empty elements allowed
 * (RFC 9110 §5.6.1). A directive that is there twice with different arguments, or text that is no directive, makes
 * the whole header doubtful: what has been read by then may be wrong.
 */
export function parseCacheControl(header: string | null): Directives {
  const directives = new Map<string, string | true>();
  const text = header ?? "";
  let at = 0;
  let isDoubtful = false;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found) at = pattern.lastIndex;
    return found;
  };
  while (at < text.length) {
    if (take(/[\s,]+/y)) continue;
    const name = take(TOKEN)?.[0].toLowerCase();
    if (name === undefined) return { ...reading(directives), isDoubtful: true };
    const argument = take(/\s*=\s*/y)
      ? (take(QUOTED)?.[1]?.replaceAll(/\\(.)/g, "$1") ?? take(TOKEN)?.[0])
      : true;
    if (argument === undefined || !take(/\s*(?=,|$)/y)) isDoubtful = true;
    if (directives.has(name) && directives.get(name) !== argument) isDoubtful = true;
    directives.set(name, argument ?? true);
  }
  return { ...reading(directives), isDoubtful };
}

const reading = (directives: Map<string, string | true>) => ({
  get: (name: string) => directives.get(name),
  has: (name: string) => directives.has(name),
});

/** Too many seconds to count (RFC 9111 §1.2.2). */
const MAX_SECONDS = 2 ** 31;

/** Whole seconds (RFC 9111 §1.2.2); undefined if the text is anything else. */
export function parseSeconds(text: string | true | undefined): number | undefined {
  return typeof text === "string" && /^\d+$/.test(text) ? Math.min(Number(text), MAX_SECONDS) : undefined;
}
