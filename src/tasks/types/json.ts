/**
 * Values as the ledger keeps them: JSON text.
 *
 * What was put in and what comes out must be the same value, now and in any later run. So a value that JSON would
 * change or drop in silence (`NaN`, a `Map`, bytes, a function) is rejected with its place, and every other value is
 * read back from its text before anyone sees it. As in JSON, a value with a `toJSON` method (a `Date`, a `URL`) becomes
 * what that returns, an instance of a class becomes its members, and a member that is `undefined` is left out.
 */

/** The limit for a task's input, for its result, and for a step's result, as JSON text. A row holds at most 2 MB. */
export const MAX_JSON_BYTES = 512 * 1024;
/** How deeply arrays and objects may be nested: what reads and writes them calls itself for each level. */
export const MAX_JSON_DEPTH = 500;

/** A value that JSON cannot hold. Another attempt would return it again. */
export class NotJsonError extends TypeError {}

/**
 * A value as JSON text; `undefined`, as a whole, is `null`. Throws a `NotJsonError` that names the place of what JSON
 * cannot hold, or a `RangeError` if the text is too long. `place`: what the messages call the value.
 */
export function toJson(value: unknown, place = "result"): string {
  const text = JSON.stringify(value === undefined ? null : new JsonCopy(place).of(value, place, 0));
  if (Buffer.byteLength(text) <= MAX_JSON_BYTES) return text;
  throw tooLong(place);
}

export function readJson(text: string): unknown {
  return JSON.parse(text);
}

const tooLong = (place: string) =>
  new RangeError(
    `${place}: at most ${MAX_JSON_BYTES} bytes of JSON are kept. Store larger data in a file, and keep its id.`,
  );

/** One copy of a value, made of nothing but JSON. */
class JsonCopy {
  readonly #root: string;
  /** Each value takes a byte of text at least. So this bounds the work, also on an object that is shared many times. */
  #valuesLeft = MAX_JSON_BYTES;
  /** The objects that contain the current value. */
  readonly #parents = new Set<object>();

  constructor(root: string) {
    this.#root = root;
  }

  of(value: unknown, place: string, depth: number): unknown {
    if (--this.#valuesLeft < 0) throw tooLong(this.#root);
    switch (typeof value) {
      case "string":
      case "boolean":
        return value;
      case "number":
        if (Number.isFinite(value)) return value;
        throw notJson(place, `${value}`);
      case "object":
        return value === null ? null : this.#object(value, place, depth);
      default:
        throw notJson(place, value === undefined ? "undefined" : withArticle(typeof value));
    }
  }

  #object(value: object, place: string, depth: number): unknown {
    if (this.#parents.has(value)) throw notJson(place, "an object that contains itself");
    if (depth >= MAX_JSON_DEPTH)
      throw new NotJsonError(`${place} is nested deeper than ${MAX_JSON_DEPTH} levels.`);
    this.#parents.add(value);
    const copy = this.#contents(value, place, depth);
    this.#parents.delete(value);
    return copy;
  }

  #contents(value: object, place: string, depth: number): unknown {
    const kind = reading(place, () => kindOf(value));
    if (ArrayBuffer.isView(value) || kind === "ArrayBuffer") throw notJson(place, withArticle(kind));
    const toJSON = reading<unknown>(place, () => Reflect.get(value, "toJSON"));
    if (typeof toJSON === "function") {
      if (kind === "Date" && Number.isNaN(Number(value))) throw notJson(place, "an invalid Date");
      return this.of(
        reading<unknown>(place, () => Reflect.apply(toJSON, value, [])),
        place,
        depth + 1,
      );
    }
    return Array.isArray(value) ? this.#array(value, place, depth) : this.#members(value, kind, place, depth);
  }

  #array(items: unknown[], place: string, depth: number): unknown[] {
    const copy: unknown[] = [];
    for (let i = 0; i < items.length; i++) {
      const at = `${place}[${i}]`;
      copy.push(
        this.of(
          reading(at, () => items[i]),
          at,
          depth + 1,
        ),
      );
    }
    return copy;
  }

  #members(value: object, kind: string, place: string, depth: number): object {
    const names = reading(place, () => Object.keys(value));
    // A Map, an Error, a Response: what they are is not in their members.
    const isPlain = reading(place, () => isPlainObject(value));
    if (kind !== "Object") throw notJson(place, withArticle(kind));
    if (names.length === 0 && !isPlain) throw notJson(place, "an object without members of its own");
    // Without a prototype, `__proto__` is a member like any other.
    const copy = Object.create(null) as Record<string, unknown>;
    for (const name of names) {
      const at = placeOf(place, name);
      const member = reading<unknown>(at, () => Reflect.get(value, name));
      if (member !== undefined) copy[name] = this.of(member, at, depth + 1);
    }
    return copy;
  }
}

/** What an object is: `Object`, `Date`, `Map`, `Uint8Array`, … An instance of a class that somebody wrote is an `Object`. */
const kindOf = (value: object): string => Object.prototype.toString.call(value).slice(8, -1);

function isPlainObject(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

const withArticle = (noun: string) => `${/^[aeio]/i.test(noun) ? "an" : "a"} ${noun}`;

/** `result.items[3]["a b"]` */
const placeOf = (place: string, name: string) =>
  /^[A-Za-z_$][\w$]{0,99}$/.test(name)
    ? `${place}.${name}`
    : `${place}[${JSON.stringify(name.slice(0, 100))}]`;

const notJson = (place: string, what: string) =>
  new NotJsonError(`${place}: ${what} is not JSON, and would be lost.`);

/** What `read` returns. A getter, a `toJSON` or a proxy may throw anything. */
function reading<T>(place: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new NotJsonError(`${place} cannot be read.`, { cause });
  }
}
