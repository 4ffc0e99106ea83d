/**
 * What a deployment takes (`UPLOAD_RULES`), and what a grant takes: sizes, media types and extensions.
 *
 * The first rule whose prefix the id of the file has counts for it, and no other. Whoever uploads keeps to it, with a
 * token or with a grant, which has terms of its own besides. Files that the code of this Worker writes are its own.
 */
import { Problem } from "../../kernel/problem.ts";
import { essenceOf } from "./media-type.ts";
import { tooLarge } from "./problems.ts";
import type { UploadRule } from "./rule-schema.ts";
import { readFileSettings } from "./settings.ts";
import type { GrantTerms } from "./uploader.ts";

/** What an upload says about its file. */
interface UploadedFile {
  filename: string;
  contentType: string;
  /** In bytes; null if it is not known yet. */
  size: number | null;
}

/** The limits of one upload. */
export interface UploadLimits {
  /** In bytes, and for a file whose length is not known. */
  maxBytes: number;
  maxUnknownBytes: number;
  /** What says so, for a message; null: it is what holds for all files. */
  by: string | null;
  rule: { rule: UploadRule; name: string } | null;
}

/** The limits for the file `id`, with the terms of a grant if there is one. */
export function limitsOf(env: Env, id: string, terms: GrantTerms | null): UploadLimits {
  const { maxBytes: most, maxUnknownBytes, rules } = readFileSettings(env);
  const index = rules.findIndex(({ prefix }) => id.startsWith(prefix));
  const rule = rules[index];
  const named = rule ? { rule, name: `UPLOAD_RULES[${index}]` } : null;
  const limits: [number, string | null][] = [
    [most, null],
    [rule?.max_bytes ?? most, named?.name ?? null],
    [terms?.maxBytes ?? most, "this grant"],
  ];
  const [[maxBytes, by] = [most, null]] = limits.toSorted(([a], [b]) => a - b);
  return { maxBytes, maxUnknownBytes: Math.min(maxBytes, maxUnknownBytes), by, rule: named };
}

/**
 * Throws a `Problem` 413, 415 or 422 for a file that the rule for it, or its grant, does not allow by what is said about it.
 * Returns what wants its bytes to be of its type; null if nothing does.
 */
export function checkRules(
  { maxBytes, by, rule: named }: UploadLimits,
  terms: GrantTerms | null,
  { filename, contentType, size }: UploadedFile,
): string | null {
  if (size !== null && size > maxBytes) throw tooLarge(maxBytes, by);
  const essence = essenceOf(contentType);
  if (terms && terms.contentTypes.length > 0) checkType("This grant", terms.contentTypes, essence);
  if (named?.rule.types) checkType(named.name, named.rule.types, essence);
  if (named?.rule.extensions) checkExtension(named.name, named.rule.extensions, filename);
  if (named?.rule.types) return named.name;
  return terms && terms.contentTypes.length > 0 ? "This grant" : null;
}

function checkType(by: string, patterns: string[], essence: string): void {
  const isAllowed = patterns.some(
    (allowed) => allowed === essence || (allowed.endsWith("/*") && essence.startsWith(allowed.slice(0, -1))),
  );
  if (isAllowed) return;
  throw new Problem(
    "unsupported-media",
    `${by} takes files of the type ${patterns.join(", ")}, and this one is ${essence}.`,
  );
}

function checkExtension(by: string, extensions: string[], filename: string): void {
  const dot = filename.lastIndexOf(".");
  const extension = dot === -1 ? "" : filename.slice(dot + 1).toLowerCase();
  if (extensions.includes(extension)) return;
  const detail = `${by} takes files whose names end in .${extensions.join(", .")}, and this one does not.`;
  throw new Problem("invalid", detail, { errors: [{ at: "filename", detail }] });
}
