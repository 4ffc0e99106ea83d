/**
 * One example for each task type: what `npm run demo` submits. A job of your own gets an entry here, and a file in
 * samples.ts if it needs one. Types that are not in this table are named at the end of a demo.
 */

/** By the name of its type: an input, in which files are those of samples.ts. */
export const EXAMPLES: Record<string, object> = {
  analyze_file: { fileId: "walks.csv" },
  clean_up: { files: [{ prefix: "tmp-", older_than_days: 30 }] },
  collect_data: {
    upstream: "demo",
    path: "/sightings?per_page=15",
    pagination: { by: "link" },
    format: "csv",
  },
  compress_file: { fileId: "walks.csv" },
  daily_report: { date: new Date().toISOString().slice(0, 10) },
  decompress_file: { fileId: "walks.csv.gz" },
  hash_file: { fileId: "walks.csv" },
  http_request: { upstream: "demo", path: "/todos/3" },
  push_file: { fileId: "walks.csv", upstream: "demo", path: "/inbox/walks.csv" },
  read_pdf: { fileId: "walks.pdf" },
  render_pdf: { fileId: "walks.md" },
  resize_image: { fileId: "gate.png", outputs: [{ width: 16 }] },
  scrape_pages: { upstream: "demo", paths: ["/site/"], depth: 3 },
  send_webhook: { url: "https://demo.example/inbox/hooks", type: "walk.finished", data: { km: 4 } },
  task_a: {},
  task_b: {},
  unzip_file: { fileId: "walks.zip" },
  verify_file: { fileId: "walks.csv" },
  zip_files: { files: [{ fileId: "walks.csv" }, { fileId: "walks.md" }] },
};

/** Types that a client cannot start. */
export const INTERNAL = new Set(["callback"]);
