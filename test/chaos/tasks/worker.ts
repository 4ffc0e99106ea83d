/**
 * Sluice with the task types of the chaos, and with objects that can be made to crash, as a restart by the platform
 * does. The code of each task reports to the witness, which is outside the runtime.
 *
 * With SABOTAGE it is the negative control: there are no caps, steps are not recorded, tasks with a time start at
 * once, and a ledger forgets its running tasks whenever it starts.
 */
import { env } from "cloudflare:workers";
import { z } from "zod";
import worker, * as sluice from "../../../src/index.ts";
import {
  defineTask,
  NonRetryableError,
  registerTaskTypes,
  startTasks,
  type TaskContext,
} from "../../../src/tasks/index.ts";
import { type Input, KINDS, type Kind, keyIn, RETRY_DELAYS } from "./kinds.ts";

export * from "../../../src/index.ts";

const { WITNESS, LIFE, SABOTAGE } = z
  .object({ WITNESS: z.url(), LIFE: z.coerce.number(), SABOTAGE: z.stringbool() })
  .parse(env);
const TICK_MS = 100;

const types = KINDS.map((kind) =>
  defineTask({
    name: kind.name,
    input: z.object({ n: z.number(), notBeforeMs: z.number(), failures: z.number() }),
    run: (ctx, input) => execute(kind, ctx, input),
    retry: { retries: kind.retries, ...RETRY_DELAYS },
    lane: kind.lane,
    ...(kind.timeoutMs === undefined ? {} : { timeoutMs: kind.timeoutMs }),
    ...(SABOTAGE ? {} : concurrencyOf(kind)),
  }),
);
registerTaskTypes(types);

function concurrencyOf(kind: Kind) {
  const { cap, keys } = kind;
  if (cap === undefined) return {};
  return { concurrency: keys ? { limit: cap, key: (input: Input) => keyIn(kind, input) } : cap };
}

type Report = (what: string, more?: Record<string, unknown>) => Promise<void>;

/** One execution, reported to the witness from its begin to its end. */
async function execute(kind: Kind, ctx: TaskContext, input: Input): Promise<{ n: number }> {
  const execution = crypto.randomUUID();
  const report: Report = async (what, more = {}) => {
    const body = JSON.stringify({ execution, taskId: ctx.taskId, ...more });
    const answer = await fetch(`${WITNESS}/${what}`, { method: "POST", body });
    await answer.body?.cancel();
  };
  const { notBeforeMs } = input;
  await report("begin", {
    type: kind.name,
    attempt: ctx.attempt,
    life: LIFE,
    notBeforeMs,
    key: keyIn(kind, input),
  });
  try {
    await work(kind, ctx, input, report);
  } catch (error) {
    await report("end", { outcome: "threw" });
    throw error;
  }
  await report("end", { outcome: "returned" });
  return { n: input.n };
}

async function work(kind: Kind, ctx: TaskContext, input: Input, report: Report): Promise<void> {
  for (let step = 1; step <= kind.steps; step++) {
    const name = `step ${step}`;
    const doStep = async () => {
      await report("step", { name });
      await passTime(kind.stepMs, ctx.signal, report);
      return { step };
    };
    await (SABOTAGE ? doStep() : ctx.step(name, doStep));
    await report("recorded", { name });
    ctx.progress(step / kind.steps, name);
  }
  if (kind.sleepMs !== undefined) await ctx.sleep(kind.sleepMs);
  if (kind.ending === "refuse") throw new NonRetryableError("chaos: must not be retried");
  if (kind.ending === "throw" || ctx.attempt <= input.failures) throw new Error("chaos: failed");
  if (kind.ending === "hang") await passTime(Infinity, ctx.signal, report);
}

/** Waits, and reports to the witness meanwhile. */
async function passTime(ms: number, signal: AbortSignal, report: Report): Promise<void> {
  for (let leftMs = ms; leftMs > 0; leftMs -= TICK_MS) {
    signal.throwIfAborted();
    await scheduler.wait(Math.min(leftMs, TICK_MS));
    await report("tick");
  }
}

/** The names of the working runners in this process. */
const working = new Set<string>();

/**
 * The bindings that plain workerd lacks: a bucket, in which only the list of objects would be, and the version. Every
 * second start counts as a deploy.
 */
const FILES = { get: async () => null, put: async () => ({}) };
let completed: Env | undefined;
/** The same for all, as the runtime's own: what is sent with the same bindings may travel together. */
function complete(own: Env): Env {
  completed ??= Object.assign({}, own, {
    FILES,
    CF_VERSION_METADATA: { id: `version ${Math.floor(LIFE / 2)}` },
  });
  return completed;
}

/** Some replies of a ledger are late, so that more has to wait for the next call, and a carrier can die meanwhile. */
const LATE_SHARE = 0.3;
const LATE_MS = 150;
type Commit = sluice.TaskLedger["commit"];
const commit = Reflect.get(sluice.TaskLedger.prototype, "commit");
Object.assign(sluice.TaskLedger.prototype, {
  async commit(this: sluice.TaskLedger, ...args: Parameters<Commit>) {
    const written = commit.apply(this, args);
    if (Math.random() < LATE_SHARE) await scheduler.wait(Math.random() * LATE_MS);
    return written;
  },
});

export class TaskLedger extends sluice.TaskLedger {
  constructor(ctx: DurableObjectState, own: Env) {
    super(ctx, complete(own));
    if (SABOTAGE) ctx.storage.sql.exec("DELETE FROM task WHERE status = 'running'");
  }

  override submit(...[tasks, reports]: Parameters<sluice.TaskLedger["submit"]>) {
    return super.submit(SABOTAGE ? tasks.map((task) => ({ ...task, runAtMs: 0 })) : tasks, reports);
  }

  crash(): void {
    this.ctx.abort("chaos");
  }
}

export class TaskRunner extends sluice.TaskRunner {
  constructor(ctx: DurableObjectState, own: Env) {
    super(ctx, complete(own));
  }

  override async alarm(): Promise<void> {
    const { name = "" } = this.ctx.id;
    working.add(name);
    await super.alarm();
    working.delete(name);
  }

  /** Submits a task, and dies at once or soon: perhaps while it carries what others submit. */
  async dieCarrying(): Promise<void> {
    const [type] = types;
    const input = { n: 0, notBeforeMs: 0, failures: 0 };
    if (type) this.ctx.waitUntil(startTasks(this.env, this.ctx, [{ type, input }]));
    const diesInMs = Math.random() * LATE_MS;
    this.ctx.waitUntil(scheduler.wait(diesInMs).then(() => this.ctx.abort("chaos")));
  }

  crash(): void {
    working.delete(this.ctx.id.name ?? "");
    this.ctx.abort("chaos");
  }
}

export default {
  ...worker,
  async fetch(request, own, ctx) {
    const [, command, kind, shard = ""] = new URL(request.url).pathname.split("/");
    if (command !== "~crash") return worker.fetch(request, complete(own), ctx);
    if (kind === "carrier") {
      const carrier: unknown = own.TASK_RUNNER.getByName(crypto.randomUUID());
      await (carrier as TaskRunner).dieCarrying();
      return new Response();
    }
    const [runner] = working;
    const name = kind === "runner" ? runner : shard;
    if (name === undefined) return new Response(null, { status: 404 });
    const object = kind === "runner" ? own.TASK_RUNNER.getByName(name) : own.TASK_LEDGER.getByName(name);
    // The crash breaks the very call that requests it.
    await Promise.resolve(Reflect.get(object, "crash")()).catch(() => {});
    return new Response(name);
  },
} satisfies ExportedHandler<Env>;
