/** What objects of several kinds report: how late they are. */
import type { Row } from "./row.ts";

export const OBJECT_ROWS: readonly Row[] = [
  {
    from: ["ledger", "scheduler", "catalogue"],
    key: "alarm",
    name: "sluice_alarm_lateness_seconds",
    type: "histogram",
    unit: "seconds",
    labels: [],
    over: "kind",
    help: "How long after their time the alarms of objects ran.",
  },
  {
    from: ["ledger", "scheduler", "catalogue"],
    key: "overdue",
    name: "sluice_object_overdue_seconds",
    type: "gauge",
    unit: "seconds",
    labels: [],
    over: "each",
    help: "For how long an object should have acted by itself and has not.",
  },
];
