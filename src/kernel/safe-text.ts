/**
 * Whatever was thrown, logged or reported, as text.
 *
 * Code may throw anything: a symbol, an object whose getters throw, a revoked proxy, an error whose message is an
 * object, ten megabytes of text. It may log a BigInt, or an object that contains itself. What describes such a value
 * runs between the end of the work and the report of it, where a failure would look like a crash. So nothing here
 * throws, and everything that it returns is bounded and well-formed (no half surrogate pair). What cannot be shown is
 * shown as `[such]`.
 */

/** The limits of text, in UTF-16 code units, and of structure. */
const MAX_NAME_LENGTH = 200;
const MAX_MESSAGE_LENGTH = 2_000;
const MAX_STACK_LENGTH = 8_000;
const MAX_TEXT_LENGTH = 8_000;
const MAX_DEPTH = 8;
const MAX_ENTRIES = 1_000;
const MAX_TOTAL_LENGTH = 64_000;
const MAX_CAUSES = 3;

type Json = string | number | boolean | null | Json[] | { [name: string]: Json };

/** At most `maxLength` of the text, never ending in half a character, and without lone surrogates. */
export function cutText(text: string, maxLength: number): string {
  const cut = text.length > maxLength ? text.slice(0, maxLength).replace(/[\ud800-\udbff]$/, "") : text;
  return cut.toWellFormed();
}

/** The name and message of whatever was thrown, cut to what is kept. */
export function describeError(error: unknown): { name: string; message: string } {
  if (!isObject(error)) return { name: "Error", message: showValue(error) };
  const name = readProperty(error, "name");
  const isNamed = typeof name === "string" && name !== "";
  return {
    name: isNamed && typeof error === "object" ? cutText(name, MAX_NAME_LENGTH) : "Error",
    message: showValue(messageOf(error)),
  };
}

/** The message; of several errors in one (`Promise.any`), theirs too; or else the value itself. */
function messageOf(error: object): unknown {
  const message = readProperty(error, "message");
  if (isInstance(error, AggregateError))
    return [message, ...attempt(() => innerMessages(error), [])]
      .map((text) => showValue(text))
      .filter(Boolean)
      .join(": ");
  const isEmpty = message === null || message === "";
  return message === undefined || (isEmpty && !isInstance(error, Error)) ? error : message;
}

/** May throw. Not `describeError` of each: an error may contain itself. */
function innerMessages({ errors }: AggregateError): unknown[] {
  return Array.from({ length: Math.min(MAX_CAUSES, errors.length) }, (_, i) => {
    const inner: unknown = errors[i];
    return (isObject(inner) && readProperty(inner, "message")) || inner;
  });
}

/** An error as fields for `log`: its name, message, stack, and up to three causes behind it. */
export function errorFields(error: unknown, causes = MAX_CAUSES): Record<string, unknown> {
  const { name, message } = describeError(error);
  const fields: Record<string, unknown> = { error: `${name}: ${message}` };
  if (!isObject(error)) return fields;
  const stack = readProperty(error, "stack");
  if (typeof stack === "string") fields.stack = cutText(stack, MAX_STACK_LENGTH);
  const cause = readProperty(error, "cause");
  if (cause !== undefined && causes > 0) fields.cause = errorFields(cause, causes - 1);
  return fields;
}

/** The members of an object as fields for `log`. */
export function toFields(fields: object): { [name: string]: Json } {
  const shown = toShowable(fields);
  return typeof shown === "object" && shown !== null && !Array.isArray(shown) ? shown : { fields: shown };
}

/** A value as a person reads it: text as it is, anything else as JSON, or as close to it as the value allows. */
export function showValue(value: unknown, maxLength = MAX_MESSAGE_LENGTH): string {
  const shown = toShowable(value);
  return cutText(typeof shown === "string" ? shown : JSON.stringify(shown), maxLength);
}

/** The value as JSON can hold it. What JSON cannot hold is replaced by text that says what it is. */
export function toShowable(value: unknown): Json {
  return new Copy().of(value, 0);
}

/** One copy, and what is left of its budget. */
class Copy {
  #entriesLeft = MAX_ENTRIES;
  #lengthLeft = MAX_TOTAL_LENGTH;
  /** The objects that contain the current one. */
  readonly #parents: object[] = [];

  of(value: unknown, depth: number): Json {
    switch (typeof value) {
      case "string":
        return this.#text(value);
      case "boolean":
        return value;
      case "number":
        return Number.isFinite(value) ? value : String(value);
      case "bigint":
        return this.#text(showBigInt(value));
      case "undefined":
        return "undefined";
      case "symbol":
        return this.#text(String(value));
      case "object":
      case "function":
        return isObject(value) ? attempt(() => this.#object(value, depth), "[not readable]") : null;
    }
  }

  #text(text: string): string {
    const cut = cutText(text, Math.min(MAX_TEXT_LENGTH, this.#lengthLeft));
    this.#lengthLeft -= cut.length;
    return cut;
  }

  #object(value: object, depth: number): Json {
    if (typeof value === "function") return this.#text(`[function ${functionName(value)}]`);
    if (this.#parents.includes(value)) return "[circular]";
    if (depth >= MAX_DEPTH) return "[too deep]";
    this.#parents.push(value);
    try {
      return this.#members(value, depth + 1);
    } finally {
      this.#parents.pop();
    }
  }

  #members(value: object, depth: number): Json {
    const toJSON = readProperty(value, "toJSON");
    if (typeof toJSON === "function") {
      return attempt(() => this.of(Reflect.apply(toJSON, value, []), depth), "[toJSON failed]");
    }
    if (Array.isArray(value)) return this.#array(value, depth);
    const shown: { [name: string]: Json } = {};
    const keys = Object.keys(value);
    // A Map, a Response, an Error: what they are says more than `{}`.
    if (keys.length === 0 && !isPlain(value)) return this.#text(showInstance(value));
    for (const key of keys) {
      if (!this.#takeEntry()) {
        shown["…"] = `${keys.length} members`;
        break;
      }
      const member = attempt(() => ({ value: Reflect.get(value, key) as unknown }), undefined);
      // As in JSON, a member without a value is left out.
      if (member && member.value === undefined) continue;
      define(shown, this.#text(key), member ? this.of(member.value, depth) : "[not readable]");
    }
    return shown;
  }

  #array(values: unknown[], depth: number): Json {
    const shown: Json[] = [];
    for (let i = 0; i < values.length; i++) {
      if (!this.#takeEntry()) return [...shown, `… ${values.length} items`];
      shown.push(attempt(() => this.of(values[i], depth), "[not readable]"));
    }
    return shown;
  }

  #takeEntry(): boolean {
    return this.#lengthLeft > 0 && this.#entriesLeft-- > 0;
  }
}

function showInstance(value: object): string {
  const message = readProperty(value, "message");
  const name = instanceName(value);
  return typeof message === "string" && message !== "" ? `${name}: ${message}` : `[${name}]`;
}

function instanceName(value: object): string {
  const constructor = readProperty(value, "constructor");
  return typeof constructor === "function" ? functionName(constructor) : "object";
}

function functionName(value: object): string {
  const name = readProperty(value, "name");
  return typeof name === "string" && name !== "" ? name : "anonymous";
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

/** Of a BigInt with very many digits, which take long to compute, only the size. */
function showBigInt(value: bigint): string {
  return BigInt.asIntN(1024, value) === value ? `${value}n` : "[a very large BigInt]";
}

const isObject = (value: unknown): value is object =>
  (typeof value === "object" && value !== null) || typeof value === "function";

/** Asking a revoked proxy what it is throws. */
function isInstance<T extends Error>(value: object, kind: new (...args: never[]) => T): value is T {
  return attempt(() => value instanceof kind, false);
}

const readProperty = (value: object, name: string): unknown =>
  attempt<unknown>(() => Reflect.get(value, name), undefined);

/** Not an assignment, which a member called `__proto__` would not survive. */
const define = (object: object, name: string, value: Json) =>
  Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true });

function attempt<T>(action: () => T, otherwise: T): T {
  try {
    return action();
  } catch {
    return otherwise;
  }
}
