/** Prometheus and its tool, which read what `GET /metrics` writes. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findFreePort } from "../../bench/support/gateway.ts";

const has = (name: string) => spawnSync(name, ["--version"]).status === 0;

/** Whether this machine has both (Debian: the package `prometheus`); without them, the tests that need them are skipped. */
export const hasPrometheus = has("prometheus") && has("promtool");

/** Runs promtool; returns what it prints. Throws with that, if it finds something. */
export function promtool(args: string[], input = ""): string {
  return execFileSync("promtool", args, { input, encoding: "utf8", stdio: "pipe" });
}

export interface Prometheus {
  /** The values that a query has now, by their labels as JSON. */
  query(promql: string): Promise<Record<string, number>>;
  stop(): Promise<void>;
}

interface Answer {
  data: { result: { metric: Record<string, string>; value: [number, string] }[] };
}

/** Starts a server that scrapes a target each second. `scrape`: more members of its configuration, as YAML lines. */
export async function startPrometheus(target: string, scrape: string[]): Promise<Prometheus> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-prometheus-"));
  const file = join(folder, "prometheus.yml");
  const lines = [
    "- job_name: sluice",
    "  scrape_interval: 1s",
    `  static_configs: [{ targets: ["${target}"] }]`,
    ...scrape.map((line) => `  ${line}`),
  ];
  writeFileSync(file, ["scrape_configs:", ...lines, ""].join("\n"));
  const port = await findFreePort();
  const flags = [
    `--config.file=${file}`,
    `--storage.tsdb.path=${folder}`,
    `--web.listen-address=127.0.0.1:${port}`,
  ];
  const server = spawn("prometheus", flags, { stdio: "ignore" });
  return {
    async query(promql) {
      const response = await fetch(
        `http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(promql)}`,
      );
      const { data } = (await response.json()) as Answer;
      return Object.fromEntries(
        data.result.map(({ metric, value }) => [JSON.stringify(withoutTarget(metric)), Number(value[1])]),
      );
    },
    async stop() {
      const ended = once(server, "exit");
      server.kill();
      await ended;
      rmSync(folder, { recursive: true });
    },
  };
}

/** The labels without those that Prometheus adds. */
const withoutTarget = (metric: Record<string, string>) =>
  Object.fromEntries(
    Object.entries(metric).filter(([name]) => !["__name__", "job", "instance"].includes(name)),
  );
