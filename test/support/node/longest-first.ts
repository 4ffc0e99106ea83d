import { BaseSequencer, type TestSpecification } from "vitest/node";

/**
 * The files that take longest, as measured. First those of the project `node`, which mostly wait: what is left of a
 * Worker when another project's file comes in between is a new start.
 */
const LONGEST = [
  "e2e/tus-uploads",
  "e2e/inline",
  "e2e/tus",
  "e2e/dev",
  "e2e/forms",
  "e2e/other-sites",
  "e2e/curl",
  "e2e/tasks-cut",
  "e2e/tasks-kill",
  "e2e/websockets",
  "e2e/outbound-messages",
  "patterns",
  "e2e/outbound",
  "e2e/tus-kill",
  "e2e/openapi",
  "e2e/",
  "architecture",
  "pages",
  "files/resumable/appender-chunks",
  "files/resumable/appender",
  "files/upload/upload",
  "files/resumable/completion",
  "outbound/proxy/cache",
  "files/resumable/session",
  "files/upload/routes",
  "files/store/blob-writer",
  "files/upload/whole",
  "outbound/client/retries",
  "files/download/download",
  "outbound/routes",
  "files/resumable/upload-request-content",
  "kernel/headers",
  "outbound/client/head-report",
  "kernel/json-body",
  "files/",
];

/** Starts the files that take longest first, so that none of them is left over when the others are done. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    // oxlint-disable-next-line unicorn/no-array-sort -- not an array's
    const sorted = await super.sort(files);
    return sorted.toSorted((a, b) => rankOf(a) - rankOf(b));
  }
}

function rankOf({ moduleId }: TestSpecification): number {
  const rank = LONGEST.findIndex((name) =>
    moduleId.includes(`/test/${name}${name.endsWith("/") ? "" : ".test.ts"}`),
  );
  return rank < 0 ? LONGEST.length : rank;
}
