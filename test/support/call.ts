/** The front door: calls the Worker, with the variables of the tests or others. */
import { createExecutionContext, env, waitOnExecutionContext } from "cloudflare:test";
import { vi } from "vitest";
import worker from "./worker.ts";

const SITE = "http://localhost";

export interface CallOptions extends RequestInit<IncomingRequestCfProperties> {
  /** Variables that differ in this call. */
  variables?: Record<string, unknown>;
  site?: string;
}

/** Calls the Worker. `settled` resolves when everything that it passed to `waitUntil` has settled. */
export async function callWorker(path: string, { variables, site = SITE, ...init }: CallOptions = {}) {
  const ctx = createExecutionContext();
  const request = new Request<unknown, IncomingRequestCfProperties>(`${site}${path}`, init);
  const response = await worker.fetch(request, { ...env, ...variables }, ctx);
  return { response, settled: () => waitOnExecutionContext(ctx) };
}

/** Calls the Worker, reads its JSON response, and waits for its background work. */
export async function callForJson(path: string, options?: CallOptions) {
  const { response, settled } = await callWorker(path, options);
  const body = await response.json<Record<string, unknown>>();
  await settled();
  return { status: response.status, headers: response.headers, body };
}

/** Runs `action`, and records every line that is written to the console meanwhile, parsed. */
export async function captureLogs<T>(
  action: () => Promise<T>,
): Promise<{ value: T; lines: Record<string, unknown>[] }> {
  const lines: Record<string, unknown>[] = [];
  const record = (line: unknown) => lines.push(JSON.parse(String(line)));
  const spies = (["info", "warn", "error"] as const).map((level) =>
    vi.spyOn(console, level).mockImplementation(record),
  );
  try {
    return { value: await action(), lines };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}
