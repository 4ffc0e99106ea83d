/**
 * Values as the ledger keeps them: JSON text.
 *
 * What was put in and what comes out must be the same value, now and in any later run. So a value that JSON would
 * change or drop in silence (`NaN`, a `Map`, bytes, a function, a member named by a symbol) is rejected with its place,
 * and every other value is read back from its text before anyone sees it. As in JSON, a value with a `toJSON` method (a
 * `Date`, a `URL`) becomes what that returns, an instance of a class becomes its members, and a member that is
 * `undefined` is left out.
 */

/** The limit for a task's input, for its result, and for a step's result, as JSON text. A row holds at most 2 MB. */
export const MAX_JSON_BYTES = 512 * 1024;
/** The limit for a checkpoint, as JSON text. */
export const MAX_CHECKPOINT_BYTES = 1024 * 1024;
/** How deeply arrays and objects may be nested, as in the body of a request. */
export const MAX_JSON_DEPTH = 3_000;

/** A value that JSON cannot hold. Another attempt would return it again. */
export class NotJsonError extends TypeError {}
/** A value whose JSON is too long. */
export class TooLongError extends RangeError {}

/**
 * A value as JSON text; `undefined`, as a whole, is `null`. Throws a `NotJsonError` that names the place of what JSON
 * cannot hold, or a `TooLongError`. `place`: what the messages call the value.
 */
export function toJson(value: unknown, place = "result", maxBytes = MAX_JSON_BYTES): string {
  const text = JSON.stringify(value === undefined ? null : new JsonCopy(place, maxBytes).of(value));
  if (Buffer.byteLength(text) <= maxBytes) return text;
  throw tooLong(place, maxBytes);
}

export function readJson(text: string): unknown {
  return JSON.parse(text);
}

const tooLong = (place: string, maxBytes: number) =>
  new TooLongError(
    `${place}: at most ${maxBytes} bytes of JSON are kept. Store larger data in a file, and keep its id.`,
  );

/** An object that is being copied. */
interface Frame {
  source: object;
  copy: object;
  /** The names of its members; of an array, how many there are. */
  names: string[] | number;
  /** How many members have been read. */
  count: number;
}

/** One copy of a value, made of nothing but JSON. It keeps a stack of its own: that of the runtime is short. */
class JsonCopy {
  readonly #root: string;
  /** The objects around the current value, from the outermost. */
  readonly #frames: Frame[] = [];
  readonly #parents = new Set<object>();
  /** Each value takes a byte of text at least. So this bounds the work, also on an object that is shared many times. */
  #valuesLeft: number;
  readonly #maxBytes: number;

  constructor(root: string, maxBytes: number) {
    this.#root = root;
    this.#maxBytes = maxBytes;
    this.#valuesLeft = maxBytes;
  }

  of(value: unknown): unknown {
    const copy = this.#begin(value);
    for (let frame = this.#frames.at(-1); frame; frame = this.#frames.at(-1)) {
      const { source, names } = frame;
      if (frame.count === (typeof names === "number" ? names : names.length)) {
        this.#frames.pop();
        this.#parents.delete(source);
        continue;
      }
      const name = nameAt(frame, frame.count++);
      const member = this.#read<unknown>(() => Reflect.get(source, name));
      if (member !== undefined || typeof names === "number") define(frame.copy, name, this.#begin(member));
    }
    return copy;
  }

  /** The copy of a value; of an object, a copy that is still to be filled. */
  #begin(value: unknown): unknown {
    if (--this.#valuesLeft < 0) throw tooLong(this.#root, this.#maxBytes);
    // JSON asks a BigInt too for its toJSON, which it has only if the code has given it one.
    const object: unknown = typeof value === "bigint" ? Object(value) : value;
    if (typeof object !== "object" || object === null) return this.#primitive(value);
    const kind = this.#read(() => kindOf(object));
    if (ArrayBuffer.isView(object) || kind === "ArrayBuffer") throw this.#notJson(withArticle(kind));
    const toJSON = this.#read<unknown>(() => Reflect.get(object, "toJSON"));
    if (typeof toJSON === "function") return this.#enterForm(value, kind, toJSON);
    return BOXED.has(kind) ? this.#primitive(this.#read(() => object.valueOf())) : this.#enter(object, kind);
  }

  /** What the `toJSON` of a value returns, which is not asked for another. */
  #enterForm(value: unknown, kind: string, toJSON: Function): unknown {
    if (kind === "Date" && this.#read(() => Number.isNaN(Number(value))))
      throw this.#notJson("an invalid Date");
    const form = this.#read<unknown>(() => Reflect.apply(toJSON, value, []));
    if (typeof form !== "object" || form === null) return this.#primitive(form);
    return this.#enter(
      form,
      this.#read(() => kindOf(form)),
    );
  }

  #primitive(value: unknown): unknown {
    switch (typeof value) {
      case "string":
      case "boolean":
        return value;
      case "number":
        if (Number.isFinite(value)) return value;
        throw this.#notJson(`${value}`);
      case "undefined":
        throw this.#notJson("undefined");
      case "object":
      case "bigint":
      case "symbol":
      case "function":
        if (value === null) return null;
        throw this.#notJson(withArticle(typeof value));
    }
  }

  #enter(source: object, kind: string): object {
    if (this.#parents.has(source)) throw this.#notJson("an object that contains itself");
    if (this.#frames.length >= MAX_JSON_DEPTH)
      throw new NotJsonError(`${this.#root} is nested deeper than ${MAX_JSON_DEPTH} levels.`);
    const names = Array.isArray(source) ? this.#read(() => source.length) : this.#namesOf(source, kind);
    const copy = typeof names === "number" ? [] : {};
    this.#frames.push({ source, copy, names, count: 0 });
    this.#parents.add(source);
    return copy;
  }

  /** The names of an object's members. A Map, an Error, a Response: what they are is not in their members. */
  #namesOf(source: object, kind: string): string[] {
    if (kind !== "Object") throw this.#notJson(withArticle(kind));
    const names = this.#read(() => Object.keys(source));
    if (this.#read(() => hasSymbols(source))) throw this.#notJson("a member whose name is a symbol");
    if (names.length > 0 || this.#read(() => isPlainObject(source))) return names;
    throw this.#notJson("an object without members of its own");
  }

  /** What `read` returns. A getter, a `toJSON` or a proxy may throw anything. */
  #read<T>(read: () => T): T {
    try {
      return read();
    } catch (cause) {
      throw new NotJsonError(`${this.#place()} cannot be read.`, { cause });
    }
  }

  #notJson(what: string): NotJsonError {
    return new NotJsonError(`${this.#place()}: ${what} is not JSON, and would be lost.`);
  }

  /** `result.items[3]["a b"]` */
  #place(): string {
    return this.#root + this.#frames.map((frame) => accessor(nameAt(frame, frame.count - 1))).join("");
  }
}

const nameAt = ({ names }: Frame, index: number): string | number =>
  typeof names === "number" ? index : (names[index] ?? "");

function accessor(name: string | number): string {
  if (typeof name === "number") return `[${name}]`;
  return /^[A-Za-z_$][\w$]{0,99}$/.test(name) ? `.${name}` : `[${JSON.stringify(name.slice(0, 100))}]`;
}

/** What an object is: `Object`, `Date`, `Map`, `Uint8Array`, … An instance of a class that somebody wrote is an `Object`. */
const kindOf = (value: object): string => Object.prototype.toString.call(value).slice(8, -1);

function isPlainObject(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** `new Number(1)`, which JSON takes for 1. */
const BOXED = new Set(["Number", "String", "Boolean", "BigInt"]);

const hasSymbols = (value: object): boolean =>
  Object.getOwnPropertySymbols(value).some((name) => Object.prototype.propertyIsEnumerable.call(value, name));

const withArticle = (noun: string) => `${/^[aeio]/i.test(noun) ? "an" : "a"} ${noun}`;

/** Not an assignment, which a member called `__proto__` would not survive. */
const define = (object: object, name: string | number, value: unknown) =>
  Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true });
