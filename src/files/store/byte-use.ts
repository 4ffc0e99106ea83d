/** How much of the quotas of stored bytes is used: for people. */
import { readQuotas } from "../../kernel/quotas.ts";
import { readTokenQuotas } from "../../kernel/tokens.ts";
import { sumOf } from "./byte-quota.ts";
import { CATALOGUES, callCatalogue, catalogueNamed } from "./shards.ts";

/** In bytes. */
export interface ByteQuotaUse {
  /** The name of the token; null: all callers together. */
  token: string | null;
  limit: number;
  /** Files, and what uploads under way hold. */
  used: number;
}

/** Of the tokens with these names that have a quota, and of all; without any, no object is asked. */
export async function readByteQuotaUse(env: Env, isMeant: (token: string | null) => boolean) {
  const quotas = [...readTokenQuotas(env), [null, readQuotas(env)] as const].flatMap(([token, quota]) =>
    quota.stored_bytes !== undefined && isMeant(token) ? [{ token, limit: quota.stored_bytes }] : [],
  );
  if (quotas.length === 0) return [];
  const owners = quotas.map(({ token }) => token);
  const shards = await Promise.all(
    CATALOGUES.map(async (name) => callCatalogue(async () => catalogueNamed(env, name).byteUses(owners))),
  );
  return quotas.map(({ token, limit }, i): ByteQuotaUse => {
    const { own, all } = sumOf(shards.flatMap((uses) => uses.slice(i, i + 1)));
    return { token, limit, used: token === null ? all : own };
  });
}
