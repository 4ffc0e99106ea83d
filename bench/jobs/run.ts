/** Jobs: what the built-in task types cost beside what a user would pick instead. */
import { benchAnalyze } from "./analyze.ts";

export async function benchJobs(): Promise<string> {
  return benchAnalyze();
}
