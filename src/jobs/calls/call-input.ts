/**
 * The part of an input that describes a call to an upstream, checked when the task is submitted, by the rules that hold
 * when the call is made, and again at each run, since the configuration may have changed.
 */
import { env } from "cloudflare:workers";
import { z } from "zod";
import { type DescribedRequest, METHODS, readUpstreams, requestErrors } from "../../outbound/index.ts";

/** The members that every call has. */
export const callShape = {
  upstream: z.string().meta({ description: "The name of an upstream of wrangler.toml." }),
  path: z.string().meta({ description: "With its query, as it is sent: `/orders?limit=1`.", example: "/" }),
  headers: z
    .record(z.string(), z.string())
    .default({})
    .meta({ description: "Those that `/fetch` would pass on to the upstream." }),
  expect: z
    .array(
      z.union([z.int().min(200).max(599), z.templateLiteral([z.enum(["2", "3", "4", "5"]), "xx"])], {
        error: 'a status from 200 to 599, or a class of them such as "2xx"',
      }),
    )
    .min(1)
    .default(["2xx"])
    .meta({ description: "The statuses that count as success." }),
  retries: z
    .int()
    .min(0)
    .max(10)
    .default(5)
    .meta({ description: "How many attempts may follow one that has failed." }),
};

export const methodSchema = z.enum(METHODS);

type Call = DescribedRequest & { upstream: string };

/** Adds what is wrong with a call to the errors of its input. */
export function checkCall(call: Call, refinement: z.RefinementCtx): void {
  const upstreams = readUpstreams(env);
  const upstream = upstreams.get(call.upstream);
  if (!upstream) {
    const message = `there is no upstream "${call.upstream}"; UPSTREAMS has ${[...upstreams.keys()].join(", ")}`;
    refinement.addIssue({ code: "custom", path: ["upstream"], message });
    return;
  }
  for (const { at, detail } of requestErrors(upstream, call))
    refinement.addIssue({ code: "custom", path: at, message: detail });
}

/** Whether a response with this status is what the caller expects. */
export function isExpected(status: number, expected: readonly (number | string)[]): boolean {
  const itsClass = `${Math.floor(status / 100)}xx`;
  return expected.some((one) => one === status || one === itsClass);
}
