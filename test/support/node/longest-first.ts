import { BaseSequencer, type TestSpecification } from "vitest/node";

/** The files that take longest, longest first, by a part of their paths. Those that only wait come early too. */
const LONGEST = [
  "/e2e/slow/tus-uploads.test.ts",
  "/e2e/slow/inline.test.ts",
  "/e2e/slow/versions.test.ts",
  "/e2e/slow/dev.test.ts",
  "/e2e/slow/other-sites.test.ts",
  "/e2e/slow/",
  "/e2e/tus.test.ts",
  "/e2e/outbound-messages.test.ts",
  "/e2e/",
  // With these the project is over: a Worker does not outlive a file of another one.
  "/test/patterns.test.ts",
  "/test/pages.test.ts",
  "/test/architecture.test.ts",
  "/test/cost.test.ts",
  "/kernel/objects-faults.test.ts",
  "/outbound/routes.test.ts",
  "/tasks/run/runner.test.ts",
  "/files/resumable/completion.test.ts",
  "/files/resumable/session.test.ts",
  "/files/store/blob-writer.test.ts",
  "/files/upload/",
  "/files/resumable/",
  "/outbound/proxy/cache.test.ts",
  "/tasks/schedules/scheduler-runs.test.ts",
  "/jobs/",
  "/kernel/headers.test.ts",
  "/tasks/ledger/ledger-model.test.ts",
  "/outbound/client/",
];

/** Starts the files that take longest first, so that none of them is left over when the others are done. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rankOf = ({ moduleId }: TestSpecification) => {
      const rank = LONGEST.findIndex((part) => moduleId.includes(part));
      return rank === -1 ? LONGEST.length : rank;
    };
    // oxlint-disable-next-line unicorn/no-array-sort -- not an array's
    const sorted = await super.sort(files);
    return sorted.toSorted((a, b) => rankOf(a) - rankOf(b));
  }
}
