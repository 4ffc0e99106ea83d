/** The dashboard for Grafana in examples/monitoring. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";

const FILE = join(import.meta.dirname, "../../examples/monitoring/dashboard.json");

const whole = z.int().min(0);
const schema = z.object({
  title: z.string(),
  uid: z.string(),
  schemaVersion: z.int(),
  templating: z.object({ list: z.array(z.object({ name: z.string(), type: z.string() })) }),
  panels: z.array(
    z.object({
      id: whole,
      type: z.enum(["stat", "timeseries"]),
      title: z.string().min(1),
      gridPos: z.object({ x: whole, y: whole, w: z.int().min(1), h: z.int().min(1) }),
      datasource: z.unknown(),
      targets: z.array(z.object({ refId: z.string(), expr: z.string(), legendFormat: z.string() })),
    }),
  ),
});

export const dashboard = schema.parse(JSON.parse(readFileSync(FILE, "utf8")));

/** Its queries; with values, as Grafana sends them. `upstream` is a regular expression. */
export function queriesOf(
  { panels }: typeof dashboard,
  values?: { interval: string; upstream: string },
): { title: string; expr: string; legendFormat: string }[] {
  return panels.flatMap(({ title, targets }) =>
    targets.map(({ expr, legendFormat }) => ({
      title,
      legendFormat,
      expr: values
        ? expr.replaceAll("$__rate_interval", values.interval).replaceAll("$upstream", values.upstream)
        : expr,
    })),
  );
}
