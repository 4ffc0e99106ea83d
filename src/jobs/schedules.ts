/**
 * The schedules that are declared in code. They exist as soon as the Worker is deployed, and change with each deploy.
 * Those that come with Sluice are off until a variable turns them on. One of yours:
 *
 *     defineSchedule({
 *       id: "nightly_report",
 *       cron: "30 2 * * MON-FRI",
 *       timeZone: "Europe/Berlin",
 *       type: report,
 *       input: { pages: 10 },
 *     }),
 */
import { env } from "cloudflare:workers";
import type { ScheduleSpec } from "../tasks/index.ts";
import { optionalSchedule } from "./support/optional-schedule.ts";
import { cleanUp } from "./upkeep/clean-up.ts";
import { dailyReport } from "./upkeep/daily-report.ts";

export const SCHEDULES: ScheduleSpec[] = [
  ...optionalSchedule(env, "CLEAN_UP", cleanUp),
  ...optionalSchedule(env, "DAILY_REPORT", dailyReport),
  // Your own, one on each line:
];
