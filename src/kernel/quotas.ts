/**
 * Quotas: how much a token, and all callers together, may have of what Sluice keeps. Those of a token are in its entry in
 * SLUICE_TOKENS, those of all in QUOTAS. Whoever counts something asks here for its limit, and who has none costs nothing.
 */
import { z } from "zod";
import { Problem } from "./problem.ts";
import { perEnv, readVariable } from "./variables.ts";

export const quotaSchema = z.strictObject({
  /** Of files, and of uploads under way. */
  stored_bytes: z.int().min(0).max(999_999_999_999_999).optional(),
});

export type Quota = z.output<typeof quotaSchema>;

/** Those of all callers together. */
export const readQuotas = perEnv((env): Quota => readVariable(env, "QUOTAS", quotaSchema.default({})));

/** What hit a limit: whose it is, how much it allows, and how much of that is left. In bytes. */
export interface Excess {
  of: "token" | "all";
  limit: number;
  left: number;
}

/** Files are removed, and expire, when their owners wish: nobody knows when. */
const RETRY_AFTER_S = 60;

/**
 * The 507 (RFC 4918 §11.5) of an upload for which there is no room. The fields are those of
 * draft-ietf-httpapi-ratelimit-headers-11: a quota of bytes (§3.1.2), without a time at which it begins anew. `t` is left out,
 * since nobody knows when there will be more.
 */
export function insufficientStorage({ of, limit, left }: Excess, headers: Record<string, string> = {}) {
  const whose = of === "token" ? "This token" : "All callers together";
  const policy = of === "token" ? "stored-bytes" : "stored-bytes-of-all";
  return new Problem(
    "insufficient-storage",
    `${whose} may store ${limit} bytes here, of which ${left} are left, and this needs more. Remove files first.`,
    {
      headers: {
        "Retry-After": String(RETRY_AFTER_S),
        "RateLimit-Policy": `"${policy}";q=${limit};qu="content-bytes"`,
        RateLimit: `"${policy}";r=${left}`,
        ...headers,
      },
    },
  );
}
