import { Problem } from "../../kernel/problem.ts";
import type { Caller } from "../client/client.ts";
import { isUpstreamFailure } from "../client/errors.ts";
import { readDataSource } from "../upstreams.ts";
import { proxy } from "./proxy.ts";

/**
 * `GET /data`: the configured upstream's JSON, as it writes it. A 503 `upstream-failed` if it answers other than 200 or
 * with what is no JSON, cannot be reached or takes too long. It is read whole, so that one that breaks off can still
 * be that 503.
 */
export async function readData(caller: Caller, received: Headers): Promise<Response> {
  const { upstream, path } = readDataSource(caller.env);
  try {
    const headers = { accept: "application/json", via: received.get("via") ?? "" };
    const request = new Request("http://localhost", { headers });
    const response = await proxy(caller, upstream, path, request);
    const text = await response.text().catch(fail);
    if (response.status !== 200 || !isJson(text)) return fail();
    const told = new Headers(response.headers);
    told.set("content-type", "application/json");
    told.delete("content-length");
    return new Response(text, { headers: told });
  } catch (error) {
    return isUpstreamFailure(error) ? fail(error) : Promise.reject(error);
  }
}

function fail(cause?: unknown): never {
  throw new Problem("upstream-failed", "External API request failed", { cause });
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
