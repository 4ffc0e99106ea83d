/** Jobs: what the built-in task types cost beside what a user would pick instead, or beside what their limits allow. */
import { benchAnalyze } from "./analyze.ts";
import { benchScrape } from "./scrape.ts";

export async function benchJobs(): Promise<string> {
  return [await benchAnalyze(), await benchScrape()].join("\n\n");
}
