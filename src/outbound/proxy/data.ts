import { Problem } from "../../kernel/problem.ts";
import type { Caller } from "../client/call-under-permit.ts";
import { isUpstreamFailure } from "../client/errors.ts";
import { readDataSource } from "../upstreams.ts";
import { callFromCode } from "./proxy.ts";

/**
 * `GET /data`: the configured upstream's JSON, byte for byte. Throws a 503 `upstream-failed` if the upstream responds
 * with another status than 200 or with something that is not JSON, cannot be reached, or takes too long. The response
 * is read whole, so that one that breaks off can still become that 503.
 */
export async function readData(caller: Caller, received: Headers): Promise<Response> {
  const { upstream, path } = readDataSource(caller.env);
  try {
    const headers = new Headers({ accept: "application/json", via: received.get("via") ?? "" });
    const request = { method: "GET", path, headers, readBody: async () => ({ body: null }), given: {} };
    const response = await callFromCode(caller, upstream, request);
    const bytes = await response.arrayBuffer().catch(fail);
    if (response.status !== 200 || !isJson(bytes)) return fail();
    const kept = new Headers(response.headers);
    kept.set("content-type", "application/json");
    kept.delete("content-length");
    return new Response(bytes, { headers: kept });
  } catch (error) {
    return isUpstreamFailure(error) ? fail(error) : Promise.reject(error);
  }
}

function fail(cause?: unknown): never {
  throw new Problem("upstream-failed", "External API request failed", { cause });
}

function isJson(bytes: ArrayBuffer): boolean {
  try {
    JSON.parse(new TextDecoder().decode(bytes));
    return true;
  } catch {
    return false;
  }
}
