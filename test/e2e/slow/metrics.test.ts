/** Metrics, as Prometheus reads them: by its own parser, and scraped by a real one from the built Worker. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { toFamilies } from "../../../src/metrics/families.ts";
import { dashboard, queriesOf } from "../../support/grafana.ts";
import { type Server, startOnMiniflare } from "../../support/node/built-worker.ts";
import { hasPrometheus, type Prometheus, promtool, startPrometheus } from "../../support/prometheus.ts";

const examples = join(import.meta.dirname, "../../../examples/monitoring");
const TOKEN = "token-of-the-tests-0123456789-0123456789";
const headers = { Authorization: `Bearer ${TOKEN}` };

describe.skipIf(!hasPrometheus)("Prometheus", () => {
  let sluice: Server;
  let scraping: Prometheus[];

  beforeAll(async () => {
    sluice = await startOnMiniflare({
      ACCESS: "tokens",
      SLUICE_TOKENS: JSON.stringify([{ name: "all", scopes: ["read", "write"], token: TOKEN }]),
      UPSTREAMS: { demo: { entrypoint: "DemoUpstream" } },
    });
    const { host } = new URL(sluice.url);
    scraping = await Promise.all([
      startPrometheus(host, [`authorization: { credentials: ${TOKEN} }`]),
      startPrometheus(host, [`basic_auth: { username: metrics, password: ${TOKEN} }`]),
    ]);
  });
  afterAll(async () => {
    for (const prometheus of scraping ?? []) await prometheus.stop();
  });

  test("finds nothing wrong with the names, types and texts", async () => {
    await call("/run-tasks");
    await call("/fetch/demo/todos/1");
    const response = await call("/metrics");
    expect(response.headers.get("Content-Type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect(promtool(["check", "metrics"], await response.text())).toBe("");
  });

  test("its tool does find what is wrong", () => {
    expect(() => promtool(["check", "metrics"], "# TYPE a counter\na 1\n")).toThrow(/_total/);
  });

  test("takes the alert rules of the example, each of which fires for what it is about, and for nothing else", () => {
    expect(promtool(["check", "rules", join(examples, "alerts.yml")])).toContain("SUCCESS");
    expect(promtool(["test", "rules", join(examples, "alerts.test.yml")])).toContain("SUCCESS");
    const namesIn = (file: string, pattern: RegExp) =>
      [...readFileSync(join(examples, file), "utf8").matchAll(pattern)].map(([, name = ""]) => name);
    const rules = namesIn("alerts.yml", /alert: (\w+)/g);
    expect(new Set(namesIn("alerts.test.yml", /alertname="(\w+)"/g))).toEqual(new Set(rules));
    for (const rule of rules) expect(readFileSync(join(examples, "README.md"), "utf8")).toContain(rule);
  });

  test("scrapes OpenMetrics, with either kind of credentials, and can add up what is there", async () => {
    for (const prometheus of scraping)
      await vi.waitFor(
        async () => {
          const up = await prometheus.query('sluice_object_up{object="ledger"}');
          expect(Object.values(up)).toContain(1);
          expect(await prometheus.query("up")).toEqual({ "{}": 1 });
          expect(await prometheus.query("sluice_object_list_up")).toEqual({ "{}": 1 });
          expect(await prometheus.query("sum(sluice_permits_granted_total)")).toEqual({ "{}": 1 });
          expect(Object.keys(await prometheus.query("sluice_build_info"))).toHaveLength(1);
          expect(await prometheus.query('sum(sluice_tasks{type="task_a"})')).toEqual({ "{}": 1 });
        },
        { timeout: 40_000, interval: 500 },
      );
  });

  test("finds something for each query of the dashboard whose subject there has been", async () => {
    const [prometheus] = scraping;
    const queries = queriesOf(dashboard, { interval: "1m", upstream: ".*" });
    const empty = async () => {
      const found = await Promise.all(
        queries.map(async ({ title, legendFormat, expr }) => {
          const values = await prometheus?.query(expr);
          return Object.keys(values ?? {}).length === 0 ? [`${title}: ${legendFormat}`] : [];
        }),
      );
      return found.flat();
    };
    await expect
      .poll(empty, { timeout: 40_000, interval: 1_000 })
      .toEqual([
        "Schedules that fail: failing",
        "Tasks that wait or run: {{status}}",
        "Oldest in the queues: {{type}}",
        "Uploads: begun",
        "Uploads: finished",
        "Uploads: broken off: {{reason}}",
        "Bytes uploaded: bytes",
        "Objects in R2 without a file: {{state}}",
      ]);
  });

  async function call(path: string): Promise<Response> {
    const response = await fetch(`${sluice.url}${path}`, { headers });
    expect(response.status).toBe(200);
    return response;
  }
});

test.runIf(!hasPrometheus)("metrics are not read by Prometheus where it is not installed", (context) => {
  console.warn("Prometheus is not installed: the metrics were not checked with it.");
  context.skip();
});

test.each(["alerts.yml", "dashboard.json"])("%s names only metrics that there are", (file) => {
  const own = ["sluice_object_up", "sluice_object_list_up", "sluice_build_info"];
  const names = new Set([
    ...own,
    ...toFamilies([]).map(({ name, type }) => name + (type === "counter" ? "_total" : "")),
  ]);
  const text = readFileSync(join(examples, file), "utf8");
  const used = [...text.matchAll(/\bsluice_[a-z_]+/g)].map(([name]) => name.replace(/_bucket$/, ""));
  expect(used.length).toBeGreaterThan(15);
  expect(used.filter((name) => !names.has(name))).toEqual([]);
});
