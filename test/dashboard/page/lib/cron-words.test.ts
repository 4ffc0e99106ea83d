import { expect, test } from "vitest";
import { cronInWords } from "../../../../src/dashboard/page/lib/cron-words.ts";
import { nextRuns } from "../../../../src/tasks/schedules/pattern.ts";

const KNOWN = [
  ["* * * * *", "every minute"],
  ["*/5 * * * *", "every 5 minutes"],
  ["0 * * * *", "every hour, on the hour"],
  ["5,35 * * * *", "at minute 5 and 35 of every hour"],
  ["0 */2 * * *", "at minute 0 of every 2 hours"],
  ["*/15 9-17 * * MON-FRI", "every 15 minutes of the hours 9 to 17 on Monday to Friday"],
  ["10-20/5 * * * *", "every 5 minutes from 10 to 20"],
  ["30 2 * * *", "at 02:30 every day"],
  ["30 2 * * MON-FRI", "at 02:30 on Monday to Friday"],
  ["0 8,20 * * 1,3", "at 08:00 and 20:00 on Monday and Wednesday"],
  ["0 0 1 * *", "at 00:00 on day 1 of the month"],
  ["0 0 1-7 * ?", "at 00:00 on day 1 to 7 of the month"],
  ["0 0 L * *", "at 00:00 on the last day of the month"],
  ["0 0 15W * *", "at 00:00 on the weekday nearest to day 15 of the month"],
  ["0 8 * * FRI#2", "at 08:00 on the 2nd Friday of the month"],
  ["0 8 * * 5#L", "at 08:00 on the last Friday of the month"],
  ["0 0 13 * FRI", "at 00:00 on day 13 of the month, or on Friday"],
  ["0 12 1 JAN,7 *", "at 12:00 on day 1 of the month in January and July"],
  ["0 0 1 */3 *", "at 00:00 on day 1 of the month in every 3rd month"],
  ["0 0 */2 * 7", "at 00:00 on every 2nd day of the month, or on Sunday"],
  ["0 0 13 * +Friday", "at 00:00 on day 13 of the month, if that is on Friday"],
  ["0 0 * january-MAR *", "at 00:00 every day in January to March"],
  ["0 0 * * FridayL", "at 00:00 on the last Friday of the month"],
  ["@hourly", "every hour, on the hour"],
  ["@Daily", "at 00:00 every day"],
  ["@weekly", "at 00:00 on Sunday"],
  ["@monthly", "at 00:00 on day 1 of the month"],
  ["@yearly", "at 00:00 on day 1 of the month in January"],
] as const;

test.each(KNOWN)("%s is %s", (cron, words) => {
  // What is in words is a pattern that runs.
  expect(nextRuns({ cron, timeZone: "UTC" }, 1, 0)).toHaveLength(1);
  expect(cronInWords(cron)).toBe(words);
});

test.each([
  "",
  "* * * *",
  "61 * * * *",
  "0 25 * * *",
  "x * * * *",
  "0 0 0 * *",
  "0 0 * FOO *",
  "0 0 * * 1-2-3",
  "@reboot",
])("%s has no words", (cron) => {
  expect(cronInWords(cron)).toBeUndefined();
});
