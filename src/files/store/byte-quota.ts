/**
 * The quota of stored bytes: the rule, and its limits.
 *
 * The count is kept where the files are, in each shard of the catalogue (stored-bytes.ts): what is stored, and what uploads
 * under way hold. An upload first holds its bytes in its own shard, and then adds up all shards. If that is more than a limit
 * allows, it lets go again. So what is stored and held by uploads that may go on never passes a limit: of those, the one
 * that held its bytes last has seen all the others. No count can drift, because none is kept besides; and whatever dies, a
 * hold ends with its blob. The price: of two uploads that come at once when there is room for one, both may be refused.
 */
import { type Excess, readQuotas } from "../../kernel/quotas.ts";
import { readTokenQuotas } from "../../kernel/tokens.ts";

/** In bytes; null: there is no limit. */
export interface ByteLimits {
  /** Of the owner, which is a token. */
  token: number | null;
  all: number | null;
}

/** In bytes, stored and held. */
export interface ByteUse {
  /** Of one owner. */
  own: number;
  all: number;
}

/** The limits of whoever has this name; null: no limit, and nothing needs to be counted. */
export function byteLimitsOf(env: Env, owner: string | null): ByteLimits | null {
  const token = readTokenQuotas(env).get(owner ?? "")?.stored_bytes ?? null;
  const all = readQuotas(env).stored_bytes ?? null;
  return token === null && all === null ? null : { token, all };
}

/** Whether anybody has a limit. */
export const hasByteQuotas = (env: Env): boolean =>
  readQuotas(env).stored_bytes !== undefined ||
  [...readTokenQuotas(env).values()].some((quota) => quota.stored_bytes !== undefined);

/**
 * How many bytes an upload may hold, or why it may not: it holds `want` by now, which `use` includes, and makes do with
 * `need`.
 */
export function settle(limits: ByteLimits, use: ByteUse, want: number, need: number): number | Excess {
  const candidates: [of: Excess["of"], limit: number | null, used: number][] = [
    ["token", limits.token, use.own],
    ["all", limits.all, use.all],
  ];
  let granted = want;
  for (const [of, limit, used] of candidates) {
    if (limit === null) continue;
    const room = limit - (used - want);
    if (room < need) return { of, limit, left: Math.max(0, room) };
    granted = Math.min(granted, room);
  }
  return granted;
}

export const sumOf = (uses: readonly ByteUse[]): ByteUse => ({
  own: uses.reduce((sum, { own }) => sum + own, 0),
  all: uses.reduce((sum, { all }) => sum + all, 0),
});
