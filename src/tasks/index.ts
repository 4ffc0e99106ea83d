/** Work that outlives its request. */
export { CALLBACK_TYPE, defineTask, NonRetryableError, type TaskContext, type TaskType } from "./define.ts";
export { TaskLedger } from "./ledger.ts";
export { registerTaskTypes } from "./registry.ts";
export { taskRoutes } from "./routes.ts";
export { TaskRunner } from "./runner.ts";
export { defineSchedule, registerSchedules, type ScheduleSpec } from "./schedule-registry.ts";
export { scheduleRoutes } from "./schedule-routes.ts";
export { Scheduler } from "./scheduler.ts";
export { type Task, taskLink, taskLinkSchema } from "./schema.ts";
export { readTaskSettings } from "./settings.ts";
export { steeringRoutes } from "./steering-routes.ts";
export { enqueueOnce, getTask, type Start, startTaskOnce, startTasks } from "./submit.ts";
export { submitRoutes } from "./submit-routes.ts";
export { tendTasks } from "./tend.ts";
