/** Every task type. A type that is not in this list cannot be submitted, and is not run. */
import type { TaskType } from "../tasks/index.ts";
import { httpRequest } from "./calls/http-request.ts";
import { pushFile } from "./calls/push-file.ts";
import { analyzeFile } from "./data/analyze-file.ts";
import { callback } from "./notify/callback.ts";
import { sendEmail } from "./notify/send-email.ts";
import { sendWebhook } from "./notify/send-webhook.ts";
import { compressFile } from "./process/compress-file.ts";
import { decompressFile } from "./process/decompress-file.ts";
import { hashFile } from "./process/hash-file.ts";
import { readPdf } from "./process/read-pdf.ts";
import { renderPdfTask } from "./process/render-pdf.ts";
import { resizeImage } from "./process/resize-image.ts";
import { unzipFile } from "./process/unzip-file.ts";
import { zipFiles } from "./process/zip-files.ts";
import { publishFile } from "./publish-file.ts";
import { taskA, taskB } from "./run-tasks.ts";
import { collectData } from "./scrape/collect-data.ts";
import { scrapePages } from "./scrape/scrape-pages.ts";
import { bulkTasks } from "./upkeep/bulk-tasks.ts";
import { cleanUp } from "./upkeep/clean-up.ts";
import { dailyReport } from "./upkeep/daily-report.ts";
import { verifyFile } from "./verify-file.ts";

export const TASK_TYPES: readonly TaskType[] = [
  callback,
  bulkTasks,
  cleanUp,
  dailyReport,
  httpRequest,
  pushFile,
  sendEmail,
  sendWebhook,
  collectData,
  scrapePages,
  compressFile,
  decompressFile,
  hashFile,
  readPdf,
  renderPdfTask,
  resizeImage,
  unzipFile,
  zipFiles,
  taskA,
  taskB,
  verifyFile,
  publishFile,
  analyzeFile,
  // Your own, one on each line:
];
