import { env } from "cloudflare:test";
import { afterAll, beforeAll } from "vitest";

/** Says which errors the tests of a file provoke in the runtime, by a part of their text: they are not reported. */
export function expectRuntimeErrors(...texts: string[]): void {
  beforeAll(async () => tell("PUT", texts));
  afterAll(async () => tell("DELETE", texts));
}

async function tell(method: "PUT" | "DELETE", texts: string[]): Promise<void> {
  const { EXPECTED_ERRORS } = env as typeof env & { EXPECTED_ERRORS: Fetcher };
  await EXPECTED_ERRORS.fetch("http://test/", { method, body: JSON.stringify(texts) });
}
