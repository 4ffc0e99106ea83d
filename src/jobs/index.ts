/** The built-in task types, and what starts them: where tasks, files and outbound meet. */
import { registerCallbackCheck, registerSchedules, registerTaskTypes } from "../tasks/index.ts";
import { callbackTargetError } from "./notify/callback-targets.ts";
import { SCHEDULES } from "./schedules.ts";
import { TASK_TYPES } from "./task-types.ts";

export { FileTasks } from "./file-tasks.ts";
export { readCallbackTargets } from "./notify/callback-targets.ts";
export { readEmailSettings } from "./notify/email-settings.ts";
export { runTasks as jobRoutes } from "./run-tasks.ts";
export { bulkRoutes } from "./upkeep/bulk-routes.ts";
export { quotaRoutes } from "./upkeep/quota-routes.ts";

registerCallbackCheck(callbackTargetError);
registerTaskTypes(TASK_TYPES);
registerSchedules(SCHEDULES);
