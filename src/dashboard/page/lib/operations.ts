/** The operations of the API behind each view: where /docs describes what the view shows and does. */
import type { Route } from "./route.ts";

type Operation = readonly [tag: string, id: string, label: string];

const TASKS: readonly Operation[] = [
  ["Tasks", "listTasks", "GET /tasks"],
  ["Tasks", "countTasks", "GET /tasks/counts"],
  ["Tasks", "bulkTasks", "POST /tasks/bulk"],
  ["Tasks", "updateTaskType", "PATCH /task-types/{name}"],
  ["Service", "watchEverything", "GET /events"],
];
const NEW_TASK: readonly Operation[] = [
  ["Tasks", "listTaskTypes", "GET /task-types"],
  ["Tasks", "submitTasks", "POST /tasks"],
];
const ONE_TASK: readonly Operation[] = [
  ["Tasks", "getTask", "GET /tasks/{id}"],
  ["Tasks", "watchTask", "GET /tasks/{id}/events"],
  ["Tasks", "cancelTask", "POST /tasks/{id}/cancel"],
  ["Tasks", "retryTask", "POST /tasks/{id}/retry"],
  ["Tasks", "sendSignal", "POST /tasks/{id}/signals/{name}"],
  ["Tasks", "deleteTask", "DELETE /tasks/{id}"],
];
const SCHEDULES: readonly Operation[] = [
  ["Tasks", "listSchedules", "GET /schedules"],
  ["Tasks", "createSchedule", "POST /schedules"],
  ["Tasks", "changeSchedule", "PATCH /schedules/{id}"],
  ["Tasks", "runSchedule", "POST /schedules/{id}/run"],
  ["Tasks", "listScheduleRuns", "GET /schedules/{id}/runs"],
  ["Tasks", "deleteSchedule", "DELETE /schedules/{id}"],
];
const FILES: readonly Operation[] = [
  ["Files", "listFiles", "GET /files"],
  ["Resumable uploads", "createUpload", "POST /uploads"],
];
const ONE_FILE: readonly Operation[] = [
  ["Files", "downloadFile", "GET /files/{id}"],
  ["Files", "createLink", "POST /files/{id}/links"],
  ["Files", "deleteFile", "DELETE /files/{id}"],
];
const UPSTREAMS: readonly Operation[] = [
  ["Outbound", "listUpstreams", "GET /upstreams"],
  ["Outbound", "updateUpstream", "PATCH /upstreams/{name}"],
];
const ONE_UPSTREAM: readonly Operation[] = [
  ...UPSTREAMS,
  ["Outbound", "getUpstreamPath", "GET /fetch/{upstream}/{path}"],
];
const AUDIT: readonly Operation[] = [["Service", "listAuditLines", "GET /audit"]];
const START: readonly Operation[] = [
  ["Examples", "getHello", "GET /hello"],
  ["Examples", "runTasksByPost", "POST /run-tasks"],
  ["Examples", "uploadFile", "POST /upload-file"],
  ["Examples", "getData", "GET /data"],
  ["Service", "getQuotas", "GET /quotas"],
];

/** The operations behind a view, each with its place in /docs. */
export const operationsOf = (route: Pick<Route, "view" | "id">): { href: string; label: string }[] =>
  find(route).map(([tag, id, label]) => ({ href: `/docs#/${encodeURIComponent(tag)}/${id}`, label }));

function find({ view, id }: Pick<Route, "view" | "id">): readonly Operation[] {
  if (view === "tasks") {
    if (id === "new") return NEW_TASK;
    if (id === "schedules") return SCHEDULES;
    return id === "" ? TASKS : ONE_TASK;
  }
  if (view === "files") return id === "" ? FILES : ONE_FILE;
  if (view === "upstreams") return id === "" ? UPSTREAMS : ONE_UPSTREAM;
  if (view === "audit") return AUDIT;
  return view === "" ? START : [];
}
