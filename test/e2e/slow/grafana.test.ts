/**
 * The dashboard of examples/monitoring, held against what Grafana asks of one: Grafana itself is in no package of Debian. What
 * its queries find is tested in metrics.test.ts.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { temporaryFolder } from "../../support/dev-server.ts";
import { dashboard, queriesOf } from "../../support/grafana.ts";
import { hasPrometheus, promtool } from "../../support/prometheus.ts";

const { panels, templating } = dashboard;

const folder = temporaryFolder();
afterAll(() => folder.remove());

/** promtool reads rules from files only. */
function checkRules(text: string): string {
  const file = join(folder.path, "rules.yml");
  writeFileSync(file, text);
  return promtool(["check", "rules", "--lint=none", file]);
}

describe("the dashboard for Grafana", () => {
  test("has panels and queries with ids of their own", () => {
    expect(panels.length).toBeGreaterThan(15);
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    expect(new Set(panels.map(({ title }) => title)).size).toBe(panels.length);
    for (const { targets } of panels) {
      expect(targets.length).toBeGreaterThan(0);
      expect(new Set(targets.map(({ refId }) => refId)).size).toBe(targets.length);
    }
  });

  test("has panels that lie within its 24 columns, and not on one another", () => {
    const taken = new Set<string>();
    for (const { gridPos } of panels) {
      expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          expect(taken).not.toContain(`${x} ${y}`);
          taken.add(`${x} ${y}`);
        }
    }
  });

  test("asks the data source that its reader chooses, and uses no variable that it lacks", () => {
    const variables = new Set(["__rate_interval", ...templating.list.map(({ name }) => name)]);
    for (const { datasource } of panels)
      expect(datasource).toEqual({ type: "prometheus", uid: "${datasource}" });
    for (const { expr } of queriesOf(dashboard))
      for (const [, name = ""] of expr.matchAll(/\$\{?(\w+)/g)) expect(variables).toContain(name);
  });

  test("names in its legends only labels that its queries leave", () => {
    for (const { expr, legendFormat } of queriesOf(dashboard)) {
      const kept = /\bby \(([^)]*)\)/.exec(expr)?.[1]?.split(/,\s*/);
      if (!kept) continue;
      for (const [, label = ""] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) expect(kept).toContain(label);
      // What is told apart is named, or its lines would all be called the same.
      for (const label of kept.filter((one) => one !== "le")) expect(legendFormat).toContain(`{{${label}}}`);
    }
  });

  test.skipIf(!hasPrometheus)("has queries that Prometheus understands", () => {
    const rules = queriesOf(dashboard, { interval: "1m", upstream: ".*" }).map(({ expr }, i) => ({
      record: `dashboard:query_${i}`,
      expr,
    }));
    // JSON is YAML.
    const text = JSON.stringify({ groups: [{ name: "dashboard", rules }] });
    expect(checkRules(text)).toContain(`${rules.length} rules found`);
    expect(() => checkRules(text.replace("count(", "count(("))).toThrow(/parse error/);
  });
});
