/**
 * Chaos for jobs. Round after round, a job of each kind is submitted, and the runtime is killed while they are at work, several
 * times, at a random moment or just when a call of theirs has arrived outside. When all of them have ended, what they
 * have made is compared with what was found out without Sluice.
 */
import { join } from "node:path";
import { makeTemporaryFolder } from "../../../bench/support/process.ts";
import { Server } from "../files/server.ts";
import { Random } from "../random.ts";
import { Api } from "./api.ts";
import { callJobs, cleaningUp, UPSTREAM, webhookJob } from "./call-jobs.ts";
import { judge } from "./checks.ts";
import { chainOf, fileJobs } from "./file-jobs.ts";
import type { History } from "./history.ts";
import type { Job } from "./job.ts";
import { readLeftovers } from "./leftovers.ts";
import { Outside } from "./outside.ts";
import { settle, submitAll } from "./round.ts";
import { buildSabotaged, SABOTAGED } from "./sabotage.ts";
import { makeSources, type Source, type Sources } from "./sources.ts";
import { CONTROL_AIMS, chooseAim, strike } from "./strike.ts";

/** How many kills a round has. After five crashes without a new step, a task fails: that is promised, too. */
const KILLS_PER_ROUND = [3, 4] as const;
/** How long the jobs of a round may take after the last kill. */
const PATIENCE_MS = { chaos: 180_000, control: 90_000 };
/** The control goes on until all that it must break is broken, or so long. */
const CONTROL_ROUNDS = 4;
/** What the sabotage changes. Without the others, they get on quickly. */
const CONTROL_TYPES = [
  "decompress_file",
  "unzip_file",
  "scrape_pages",
  "collect_data",
  "send_webhook",
  "http_request",
];
/** In some rounds, some jobs begin in the request that submits them. The ledger waits 35 s until it begins such a job again. */
const HERE_ROUNDS = 0.3;
const HERE_SHARE = 0.3;

export interface ChaosOptions {
  kills: number;
  seed: number;
  onLine: (line: string) => void;
}

/** Where a run takes place. */
interface Scene {
  server: Server;
  outside: Outside;
  api: Api;
  sources: Sources;
  history: History;
  random: Random;
}

/** As many kills as are asked for, of the built Worker. */
export async function runChaos({ kills, seed, onLine }: ChaosOptions): Promise<History> {
  return play({ seed, onLine, isSabotaged: false }, async (scene) => {
    const { server, outside, api, sources, history, random } = scene;
    for (let round = 1; history.kills.length < kills; round++) {
      const hereShare = random.chance(HERE_ROUNDS) ? HERE_SHARE : 0;
      const jobs = [
        ...fileJobs(sources),
        ...callJobs(`r${round}`, sources, outside),
        chainOf(sources, webhookJob(outside, `chain-r${round}`)),
        await cleaningUp(`r${round}`, api),
      ];
      const submitting = submitAll(jobs, { round, api, random, hereShare });
      const count = Math.min(kills - history.kills.length, random.between(...KILLS_PER_ROUND));
      for (let kill = 0; kill < count; kill++)
        history.kills.push(await strike(server, outside, chooseAim(random, kill === 0), random));
      await settle(await submitting, scene, PATIENCE_MS.chaos);
    }
    await lookAtAll(scene);
  });
}

/** The control: the Worker that breaks its promises, until all of them are broken. */
export async function runControl({ seed, onLine }: Omit<ChaosOptions, "kills">): Promise<History> {
  return play({ seed, onLine, isSabotaged: true }, async (scene) => {
    const { server, outside, api, sources, history, random } = scene;
    for (let round = 1; round <= CONTROL_ROUNDS; round++) {
      const all: Job[] = [...fileJobs(sources), ...callJobs(`r${round}`, sources, outside)];
      // What follows makes files: started twice, it makes some that nobody knows of.
      const then = all.filter(({ type }) => type === "unzip_file");
      const jobs = all
        .filter(({ type }) => CONTROL_TYPES.includes(type))
        .map((job, i) => (i === 0 ? { ...job, then } : job));
      const submitting = submitAll(jobs, { round, api, random, hereShare: 0 });
      for (const aim of CONTROL_AIMS) history.kills.push(await strike(server, outside, aim, random));
      await settle(await submitting, scene, PATIENCE_MS.control);
      await lookAtAll(scene);
      if (SABOTAGED.every((check) => !judge(history, check).isKept)) return;
      await server.start();
    }
  });
}

/** Sets a run up, and returns its history after `act`. */
async function play(
  { seed, onLine, isSabotaged }: Omit<ChaosOptions, "kills"> & { isSabotaged: boolean },
  act: (scene: Scene) => Promise<void>,
): Promise<History> {
  const beganAtMs = performance.now();
  await using made = new AsyncDisposableStack();
  const folder = makeTemporaryFolder();
  made.defer(folder.remove);
  const main = isSabotaged ? await buildSabotaged(join(folder.path, "index.js")) : undefined;
  const outside = made.use(await Outside.open());
  const server = made.use(new Server({ main, isForgetful: false, onLine, vars: variables(outside) }));
  await server.start();
  const api = new Api(() => server.url);
  const sources = makeSources(seed);
  const stored = Object.values(sources).filter(isSource);
  for (const { id, bytes, contentType } of stored) await api.store(id, bytes, contentType);
  const history: History = {
    kills: [],
    ended: [],
    unfinished: [],
    stored: stored.map(({ id }) => id),
    files: [],
    tasks: [],
    received: outside.received,
    disk: { drafts: [], objects: [], multiparts: [], doomed: 0 },
    tookMs: 0,
  };
  await act({ server, outside, api, sources, history, random: new Random(seed, "rounds") });
  history.tookMs = performance.now() - beganAtMs;
  return history;
}

/** Records all that there is, and stops the server: its disk can be read only then. */
async function lookAtAll({ api, server, history }: Scene): Promise<void> {
  history.files = await api.files();
  history.tasks = await api.tasks();
  await server.stop();
  history.disk = readLeftovers(server.storage);
}

function variables({ origin }: Outside) {
  return {
    UPSTREAMS: {
      [UPSTREAM]: { origin, methods: ["GET", "POST", "PUT"], concurrency: 30, cache_seconds: 0 },
    },
    DATA_UPSTREAM: UPSTREAM,
    CALLBACK_ORIGINS: { [origin]: UPSTREAM },
    CALLBACK_KEYS: `whsec_${Buffer.from("the key of the chaos, 32 bytes..").toString("base64")}`,
  };
}

const isSource = (value: unknown): value is Source =>
  typeof value === "object" && value !== null && "contentType" in value;
