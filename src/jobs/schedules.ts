/**
 * The schedules that are declared in code. They exist as soon as the Worker is deployed, and change with each deploy:
 *
 *     export const SCHEDULES: ScheduleSpec[] = [
 *       defineSchedule({
 *         id: "nightly_report",
 *         cron: "30 2 * * MON-FRI",
 *         timeZone: "Europe/Berlin",
 *         type: report,
 *         input: { pages: 10 },
 *       }),
 *     ];
 */
import type { ScheduleSpec } from "../tasks/index.ts";

export const SCHEDULES: ScheduleSpec[] = [];
