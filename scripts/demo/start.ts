/** Sluice with the demo upstream and the sample files: the built Worker, whose storage is removed at the end. */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { promisify } from "node:util";
import { type RunningMiniflare, startMiniflare } from "../../bench/support/miniflare.ts";
import { SAMPLES } from "./samples.ts";

/** The demo upstream takes what is sent to it, and stands for a receiver of webhooks. */
const VARIABLES = {
  UPSTREAMS: { demo: { entrypoint: "DemoUpstream", methods: ["GET", "HEAD", "POST", "PUT"] } },
  DATA_UPSTREAM: "demo",
  CALLBACK_ORIGINS: { "https://demo.example": "demo" },
  CALLBACK_KEYS: `whsec_${randomBytes(32).toString("base64")}`,
};

/** Builds it, starts it, and stores the samples, each under its name. `log` gets what the runtime logs. */
export async function startDemo(log: (message: string) => void): Promise<RunningMiniflare> {
  // wrangler.toml requires it; with ACCESS = "local" nobody needs a token.
  process.env.SLUICE_TOKENS ??= "[]";
  await promisify(execFile)("npm", ["run", "--silent", "build"]);
  const sluice = await startMiniflare(VARIABLES, { onLog: ({ message }) => log(message) });
  await Promise.all(Object.keys(SAMPLES).map(async (name) => store(sluice.url, name)));
  return sluice;
}

async function store(url: string, name: string): Promise<void> {
  const sample = SAMPLES[name];
  if (!sample) return;
  const headers = { "Content-Type": sample.contentType };
  const response = await fetch(`${url}/files/${name}`, { method: "PUT", headers, body: sample.body() });
  if (!response.ok) throw new Error(`${name} was not stored: ${await response.text()}`);
}
