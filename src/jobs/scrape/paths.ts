/** Paths in an input: what is wrong with them is said when the task is submitted, by the name of their field. */
import { env } from "cloudflare:workers";
import { z } from "zod";
import { Problem } from "../../kernel/problem.ts";
import { readUpstreams, targetOf, type Upstream } from "../../outbound/index.ts";
import { MAX_ADDRESS_LENGTH } from "./addresses.ts";

/** A path of an upstream, with its query. */
export const path = z
  .string()
  .max(MAX_ADDRESS_LENGTH)
  .regex(/^\/[^#]*$/, "must begin with / and have no #");

interface Field {
  /** Where the input has it. */
  at: (string | number)[];
  address: string;
  /** What to say instead of why the address is not allowed. */
  message?: string;
}

/** Adds an issue for each address that the upstream may not be called at, with GET. */
export function checkAddresses(name: string, fields: Field[], context: z.RefinementCtx): void {
  const upstream = readUpstreams(env).get(name);
  if (!upstream) return;
  const report = (at: (string | number)[], message: string) =>
    context.addIssue({ code: "custom", path: at, message, input: context.value });
  if (!upstream.methods.includes("GET")) report(["upstream"], "its methods have no GET");
  for (const { at, address, message } of fields) {
    // What is no path is an error of its own field already.
    if (!path.safeParse(address).success) continue;
    const why = whyNot(upstream, address);
    if (why !== undefined) report(at, message ?? why);
  }
}

/** Why an upstream may not be called at a path; undefined if it may. */
function whyNot(upstream: Upstream, address: string): string | undefined {
  try {
    targetOf(upstream, address);
    return undefined;
  } catch (error) {
    if (error instanceof Problem) return error.detail;
    throw error;
  }
}
