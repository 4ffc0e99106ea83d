/**
 * One example for each task type: what `npm run demo` submits. A job of your own gets an entry here, and a file in
 * samples.ts if it needs one. Types that are not in this table are named at the end of a demo.
 */

/** By the name of its type: an input, in which files are those of samples.ts. */
export const EXAMPLES: Record<string, object> = {
  analyze_file: { fileId: "walks.csv" },
  collect_data: {
    upstream: "demo",
    path: "/sightings?per_page=15",
    pagination: { by: "link" },
    format: "csv",
  },
  scrape_pages: { upstream: "demo", paths: ["/site/"], depth: 3 },
  task_a: {},
  task_b: {},
  verify_file: { fileId: "walks.csv" },
};

/** Types that a client cannot start. */
export const INTERNAL = new Set(["callback"]);
