/**
 * What workerd itself writes about errors, kept readable.
 *
 * A test that kills an object, or breaks a connection, makes workerd report an uncaught exception. Such a test says
 * beforehand which texts it expects (`expectRuntimeErrors`), and reports with them are dropped. Every other report is
 * shown, with a count at the end, so that an unexpected one is seen.
 */
import type { Reporter } from "vitest/node";

/** Expected texts, and how many test files expect each. */
const expected = new Map<string, number>();
/** workerd reports a little after the test that provoked it has ended. */
const LINGER_MS = 20_000;

/** What says nothing: of a stream whose reader went away, and of objects that are deleted between two files. */
const ALWAYS_EXPECTED = [
  "disconnected: read end of pipe was aborted",
  "disconnected: abortRead() has been called",
  "disconnected: pump canceled",
  "Application called deleteAllDurableObjects()",
];

const REPORT = /^(uncaught exception; |exception = )/;
const SILENT = /^Sourcemap for .* points to missing source files/;

let unexpectedCount = 0;

/** The service binding EXPECTED_ERRORS: `PUT` expects the texts in the JSON body, `DELETE` no longer does. */
export async function expectedErrors(request: {
  method: string;
  json(): Promise<unknown>;
}): Promise<Response> {
  const texts = (await request.json()) as string[];
  if (request.method === "PUT") add(texts, 1);
  else setTimeout(() => add(texts, -1), LINGER_MS).unref();
  return new Response(null, { status: 204 });
}

function add(texts: string[], by: 1 | -1): void {
  for (const text of texts) expected.set(text, (expected.get(text) ?? 0) + by);
}

function isShown(chunk: string): boolean {
  if (SILENT.test(chunk)) return false;
  if (!REPORT.test(chunk)) return true;
  const declared = [...expected].flatMap(([text, files]) => (files > 0 ? [text] : []));
  const isExpected = [...ALWAYS_EXPECTED, ...declared].some((text) => chunk.includes(text));
  if (!isExpected) unexpectedCount++;
  return !isExpected;
}

/** Filters the two streams of this process, to which the pool copies each report in one call. */
function filterReports(): void {
  for (const stream of [process.stdout, process.stderr]) {
    const write = stream.write.bind(stream) as (...args: unknown[]) => boolean;
    stream.write = (chunk: unknown, ...rest: unknown[]): boolean =>
      typeof chunk === "string" && !isShown(chunk) ? true : write(chunk, ...rest);
  }
}

export class RuntimeErrors implements Reporter {
  onInit(): void {
    filterReports();
  }

  onTestRunEnd(): void {
    if (unexpectedCount > 0)
      console.error(`\n${unexpectedCount} runtime errors that no test expected: see above.`);
  }
}
