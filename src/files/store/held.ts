/** Files that are held until they are accepted: whether a rule has them held, and what becomes of them. */
import { exports } from "cloudflare:workers";
import { Problem } from "../../kernel/problem.ts";
import type { CheckedFile, Decision } from "./checks.ts";
import { type HeldFile, type Hold, versionOf } from "./held-files.ts";
import { CATALOGUES, callCatalogue, catalogueNamed, catalogueOf } from "./shards.ts";
import type { UploadLimits } from "./upload-rules.ts";
import { startTask } from "./upload-task.ts";

export type HeldRef = Pick<CheckedFile, "fileId" | "version">;

const SAMPLE: Omit<CheckedFile, "fileId"> = {
  version: "0190a2b4-0000-7000-8000-000000000000",
  name: "a",
  type: "application/octet-stream",
  size: 0,
  sha256: "0".repeat(64),
  owner: null,
};

/**
 * What its rule wants before the file is seen; undefined if nothing. Throws a `Problem` 503 if the task type is not there:
 * before a byte is stored.
 */
export async function holdFor(
  { rule: named }: UploadLimits,
  task: string | undefined,
): Promise<Hold | undefined> {
  const check = named?.rule.before_publish;
  if (!named || check === undefined) return undefined;
  const refusal = await exports.FileTasks.check(JSON.stringify({ type: check, input: SAMPLE }));
  if (!refusal) return { check, task: task ?? null };
  const detail = `${named.name} has files checked by the task type "${check}", which cannot do that here.`;
  throw new Problem("task-type-unavailable", detail);
}

/** A file that is held; undefined if it is not, or no longer. */
export const findHeldFile = async (env: Env, { fileId, version }: HeldRef): Promise<HeldFile | undefined> =>
  callCatalogue(async () => catalogueOf(env, fileId).findHeld(version));

/** Publishes a file that is held, and starts its task; or removes it. It can be repeated safely, and decides once. */
export async function decideHeldFile(env: Env, { fileId, version }: HeldRef, decision: Decision) {
  const decided = await callCatalogue(async () => catalogueOf(env, fileId).decide(version, decision));
  if (decided.is !== "published") return { is: decided.is, ...decision };
  const { file, task } = decided;
  if (task !== null) {
    await startTask(task, fileId, file.blob);
    await callCatalogue(async () => catalogueOf(env, fileId).forgetHeld(version));
  }
  return { is: decided.is, ...decision };
}

/** A page of the files of all shards that are held, newest first. `cursor`: the version at the end of the page before. */
export async function listHeldFiles(env: Env, limit: number, cursor = "~") {
  const list = async (name: string) =>
    callCatalogue(async () => catalogueNamed(env, name).listHeld(cursor, limit + 1));
  const shards = await Promise.all(CATALOGUES.map(list));
  const all = shards.flat().toSorted((a, b) => (versionIn(a) < versionIn(b) ? 1 : -1));
  const held = all.slice(0, limit);
  const last = held.at(-1);
  return { held, next: all.length > limit && last ? versionIn(last) : null };
}

const versionIn = ({ file }: HeldFile): string => versionOf(file.blob);

/** The bytes of a file that is held, for the task that decides about it; undefined if it is held no longer. */
export async function openHeldFile(env: Env, ref: HeldRef): Promise<ReadableStream<Uint8Array> | undefined> {
  const held = await findHeldFile(env, ref);
  return (held && (await env.FILES.get(held.file.blob)))?.body;
}
