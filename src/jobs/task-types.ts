/** Every task type. A type that is not in this list cannot be submitted, and is not run. */
import type { TaskType } from "../tasks/index.ts";
import { httpRequest } from "./calls/http-request.ts";
import { pushFile } from "./calls/push-file.ts";
import { callback } from "./notify/callback.ts";
import { sendEmail } from "./notify/send-email.ts";
import { sendWebhook } from "./notify/send-webhook.ts";
import { taskA, taskB } from "./run-tasks.ts";
import { cleanUp } from "./upkeep/clean-up.ts";
import { verifyFile } from "./verify-file.ts";

export const TASK_TYPES: readonly TaskType[] = [
  callback,
  cleanUp,
  httpRequest,
  pushFile,
  sendEmail,
  sendWebhook,
  taskA,
  taskB,
  verifyFile,
  // Your own, one on each line:
];
