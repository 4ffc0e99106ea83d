/**
 * The numbers of a JSON text that a double does not keep, with their places.
 *
 * An integer must be kept exactly, so its magnitude is at most 2^53 if it is written in digits (RFC 8259 §6); written
 * with an exponent or a fraction, as a double itself is, it may be any that is read and written back unchanged (1e300).
 * A fraction is kept to the precision of a double, which is what everybody expects of 0.1. A number that is not zero
 * must not become zero.
 *
 * Nearly all bodies have no number of which this could be in question, and one look for 16 digits in a row or an
 * exponent finds that out. Only for the others is the text walked through, once, in linear time.
 */

import { cutText } from "./safe-text.ts";

/** How many places are named. */
const MAX_PLACES = 20;
const MAX_SHOWN_LENGTH = 40;
/** No double from 2^53 on has more digits before its point. */
const MAX_COMPARED_DIGITS = 310;

/** What every number in question has. Text inside of strings may look like it too: the walk finds out. */
const IN_QUESTION = /\d{16}|\d[eE]/;

const NUMBER_CHARACTERS = new Set(Array.from("0123456789-+.eE", (character) => character.charCodeAt(0)));
const WRITTEN = /^-?(\d+)(?:\.(\d*))?(?:e([+-]?\d+))?$/i;

export interface JsonFindings {
  /** The place of each such number as a JSON pointer (RFC 6901), and the number as it is written, cut. */
  unkept: { at: string; number: string }[];
  isTooDeep: boolean;
}

/** An array with the index of the current item, or an object with where its current key begins and ends. */
type Level = { index: number } | { keyStart: number; keyEnd: number };

/** `text` must be valid JSON. The walk ends where objects and arrays are nested more deeply than `maxDepth`. */
export function inspectJson(text: string, maxDepth: number): JsonFindings {
  const findings: JsonFindings = { unkept: [], isTooDeep: false };
  const canBeTooDeep = text.length > 2 * maxDepth;
  if (canBeTooDeep || IN_QUESTION.test(text)) walk(text, maxDepth, findings);
  return findings;
}

function walk(text: string, maxDepth: number, findings: JsonFindings): void {
  const levels: Level[] = [];
  for (let i = 0; i < text.length; ) {
    const level = levels.at(-1);
    switch (text.charAt(i)) {
      case "[":
      case "{":
        levels.push(text[i] === "[" ? { index: 0 } : { keyStart: i, keyEnd: i });
        if (levels.length <= maxDepth) break;
        findings.isTooDeep = true;
        return;
      case "]":
      case "}":
        levels.pop();
        break;
      case ",":
        if (level && "index" in level) level.index++;
        break;
      case '"': {
        const end = endOfString(text, i);
        // Of a member, the key comes first, and only a key is followed by a colon.
        if (level && "keyStart" in level && isKey(text, end))
          Object.assign(level, { keyStart: i, keyEnd: end });
        i = end;
        continue;
      }
      default: {
        const number = numberAt(text, i);
        if (number === "") break;
        i += number.length;
        if (isKept(number)) continue;
        findings.unkept.push({ at: pointer(text, levels), number: cutText(number, MAX_SHOWN_LENGTH) });
        if (findings.unkept.length === MAX_PLACES) return;
        continue;
      }
    }
    i++;
  }
}

/** After the closing quote: the first that has an even number of backslashes before it. */
function endOfString(text: string, start: number): number {
  for (let quote = text.indexOf('"', start + 1); ; quote = text.indexOf('"', quote + 1)) {
    let before = quote;
    while (text[before - 1] === "\\") before--;
    if ((quote - before) % 2 === 0) return quote + 1;
  }
}

function isKey(text: string, end: number): boolean {
  let i = end;
  while (/\s/.test(text[i] ?? "")) i++;
  return text[i] === ":";
}

/** "" if none begins there. In valid JSON, all such characters after the first of a number are a part of it. */
function numberAt(text: string, start: number): string {
  let end = start;
  // The e of `true` and `false` begins none.
  if (text[end] === "e") return "";
  while (NUMBER_CHARACTERS.has(text.charCodeAt(end))) end++;
  return text.slice(start, end);
}

/** Whether a double keeps the number, as it is written in JSON. */
function isKept(number: string): boolean {
  const value = Number(number);
  const isFraction = /[.e]/i.test(number);
  if (!isFraction) return Math.abs(value) <= 2 ** 53 && (number.length <= 15 || String(value) === number);
  if (value !== 0 && Math.abs(value) < 2 ** 53) return true;
  const [, whole = "", fraction = "", exponent = "0"] = WRITTEN.exec(number) ?? [];
  if (value === 0) return !/[1-9]/.test(whole + fraction);
  return Number.isFinite(value) && isSame(whole, fraction, exponent, value);
}

/** Whether what is written has the same value as what JSON writes for the double. */
function isSame(whole: string, fraction: string, exponent: string, value: number): boolean {
  if (whole.length + fraction.length > MAX_COMPARED_DIGITS) return false;
  const [, whole2 = "", fraction2 = "", exponent2 = "0"] = WRITTEN.exec(String(value)) ?? [];
  return normalize(whole, fraction, exponent) === normalize(whole2, fraction2, exponent2);
}

/** The digits without zeros around them, and the power of ten of the first one. */
function normalize(whole: string, fraction: string, exponent: string): string {
  const digits = whole + fraction;
  const first = digits.search(/[1-9]/);
  let end = digits.length;
  while (digits[end - 1] === "0") end--;
  return `${digits.slice(first, end)}e${Number(exponent) + whole.length - first}`;
}

/** The pointer to the current place, made of the key or index of each level around it. */
function pointer(text: string, levels: readonly Level[]): string {
  return levels.map((level) => `/${"index" in level ? level.index : keyOf(text, level)}`).join("");
}

function keyOf(text: string, { keyStart, keyEnd }: { keyStart: number; keyEnd: number }): string {
  const key: unknown = JSON.parse(text.slice(keyStart, keyEnd));
  return cutText(String(key), MAX_SHOWN_LENGTH).replaceAll("~", "~0").replaceAll("/", "~1");
}
