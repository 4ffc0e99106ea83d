/** Work that outlives its request. */

export { taskEventLinkRoutes, taskEventRoutes } from "./http/event-routes.ts";
export { filterSchema, toFilter } from "./http/filters.ts";
export { taskRoutes } from "./http/routes.ts";
export { signalLinkRoutes, signalRoutes } from "./http/signal-routes.ts";
export { steeringRoutes } from "./http/steering-routes.ts";
export { submitRoutes } from "./http/submit-routes.ts";
export { typeRoutes } from "./http/type-routes.ts";
export { BULK_ACTIONS } from "./ledger/bulk.ts";
export { TaskLedger } from "./ledger/ledger.ts";
export { type Task, taskLineSchema, taskLink, taskLinkSchema } from "./ledger/schema.ts";
export { readTaskSettings } from "./ledger/settings.ts";
export { FINAL_STATUSES } from "./ledger/task-state.ts";
export { actOnTasks, type BulkPlace, type BulkPlan, chooseTasks, previewBulk } from "./run/bulk.ts";
export { countTasks, type TaskCount } from "./run/count-tasks.ts";
export { findEndedTasks, removeEndedTasks, type TaskCursor, taskShards } from "./run/ended-tasks.ts";
export { readTaskFigures } from "./run/read-figures.ts";
export { isCancelled } from "./run/run.ts";
export { TaskRunner } from "./run/runner.ts";
export { enqueueOnce, getTask, startTaskOnce, startTasks } from "./run/submit.ts";
export { readTaskRequest } from "./run/task-request.ts";
export { type WatchedTasks, watchedTasksParams, watchedTasksSchema, watchTasks } from "./run/watch-tasks.ts";
export {
  defineSchedule,
  registerSchedules,
  type ScheduleSpec,
} from "./schedules/registry.ts";
export { scheduleRoutes } from "./schedules/routes.ts";
export { Scheduler } from "./schedules/scheduler.ts";
export { watchSchedules } from "./schedules/watch-schedules.ts";
export { wakeOverdue } from "./schedules/watchdog.ts";
export { registerCallbackCheck } from "./types/callbacks.ts";
export {
  CALLBACK_TYPE,
  ChildTaskError,
  defineTask,
  NonRetryableError,
  PostponedError,
  RetryLaterError,
  type Start,
  type TaskContext,
  type TaskType,
} from "./types/define.ts";
export { registerTaskTypes } from "./types/registry.ts";
export { SignalTimeoutError } from "./types/signals.ts";
