/**
 * What an upstream would not take of a request that a caller describes, such as the input of a task: checked by the rules
 * of `/fetch` before anything is sent, so that whoever describes it can still be told.
 *
 * Invariant: what has no error here may be called, unless the configuration changes meanwhile.
 */
import { Problem } from "../kernel/problem.ts";
import { claimOf } from "./client/claim.ts";
import { isConfigured, travels } from "./client/headers.ts";
import { targetOf } from "./client/path.ts";
import { HEADER_VALUE } from "./header-secrets.ts";
import { checkMethod } from "./proxy/proxy.ts";
import type { Upstream } from "./upstreams.ts";

export interface DescribedRequest {
  method: string;
  /** With its query. */
  path: string;
  headers: Readonly<Record<string, string>>;
}

/** Each error, with its place in the request. */
export function requestErrors(
  upstream: Upstream,
  { method, path, headers }: DescribedRequest,
): { at: string[]; detail: string }[] {
  const errors = [
    ...errorOf(["method"], () => checkMethod(upstream, method)),
    ...errorOf(["path"], () => targetOf(upstream, path)),
    ...Object.entries(headers).flatMap(([name, value]) => {
      const detail = headerError(upstream, name, value);
      return detail === undefined ? [] : [{ at: ["headers", name], detail }];
    }),
  ];
  if (errors.length > 0) return errors;
  const { pathname } = targetOf(upstream, path);
  return errorOf(["headers"], () => claimOf(upstream, pathname, new Headers(headers), {}));
}

function errorOf(at: string[], check: () => unknown): { at: string[]; detail: string }[] {
  try {
    check();
    return [];
  } catch (error) {
    if (error instanceof Problem) return [{ at, detail: error.detail }];
    throw error;
  }
}

/** RFC 9110 §5.1 */
const TOKEN = /^[!#$%&'*+.^`|~\w-]+$/;

function headerError(upstream: Upstream, name: string, value: string): string | undefined {
  if (!TOKEN.test(name)) return "This is not the name of a header.";
  if (!HEADER_VALUE.test(value)) return "The value of a header has printable ASCII characters and tabs only.";
  const lowerCase = name.toLowerCase();
  if (isConfigured(upstream, lowerCase)) return `The upstream's headers in wrangler.toml set ${name}.`;
  if (travels(upstream, lowerCase)) return undefined;
  return (
    `The header ${name} does not travel to the upstream "${upstream.name}". ` +
    `To let it, add it to UPSTREAMS.${upstream.name}.request_headers in wrangler.toml.`
  );
}
