/**
 * The Worker under test: the real one, on the simulated platform (platform/), and beside it an upstream that the tests
 * can script.
 */
// By itself, and first: with it the upstream is known by the time the Worker reads its variables.
import "./scripted-upstream.ts";
import * as sluice from "../../src/index.ts";
import { registerSchedules } from "../../src/tasks/index.ts";
import { simulateEntrypoint, simulateHandler, simulateObject } from "./platform/simulate.ts";

export { ScriptedUpstream } from "./scripted-upstream.ts";

export const AuditLog = simulateObject(sluice.AuditLog);
export const DemoUpstream = simulateEntrypoint(sluice.DemoUpstream);
export const FileTasks = simulateEntrypoint(sluice.FileTasks);
export const FileCatalogue = simulateObject(sluice.FileCatalogue);
export const Scheduler = simulateObject(sluice.Scheduler);
export const Semaphore = simulateObject(sluice.Semaphore);
export const Sessions = simulateObject(sluice.Sessions);
export const TaskLedger = simulateObject(sluice.TaskLedger);
export const TaskRunner = simulateObject(sluice.TaskRunner);
export const UpstreamCache = simulateEntrypoint(sluice.UpstreamCache);
export const UploadSession = simulateObject(sluice.UploadSession);

// The schedules of src/jobs/schedules.ts would run beside the tests. They register those that they need.
registerSchedules([]);

export default simulateHandler(sluice.default);
