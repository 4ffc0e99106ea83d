/** Every task type. A type that is not in this list cannot be submitted, and is not run. */
import type { TaskType } from "../tasks/index.ts";
import { callback } from "./callback.ts";
import { analyzeFile } from "./data/analyze-file.ts";
import { taskA, taskB } from "./run-tasks.ts";
import { collectData } from "./scrape/collect-data.ts";
import { scrapePages } from "./scrape/scrape-pages.ts";
import { verifyFile } from "./verify-file.ts";

export const TASK_TYPES: readonly TaskType[] = [
  callback,
  collectData,
  scrapePages,
  taskA,
  taskB,
  verifyFile,
  analyzeFile,
  // Your own, one on each line:
];
