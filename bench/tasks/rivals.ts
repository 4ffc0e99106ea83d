/**
 * A Worker with the other ways to do something after the response. Each takes the same body as Sluice's POST /tasks,
 * responds as soon as it can, and runs the same trivial task, which logs its ticket and ends.
 *
 *     /wait-until   ctx.waitUntil: nothing is stored
 *     /insert       a call to an object that inserts one row like that of a task; there is no task
 *     /queue        a queue whose consumer gets at most ten messages at a time
 *     /queue-1      a queue whose consumer gets one message at a time
 *     /workflow     a workflow of one step
 *
 * GET on the same path returns how many have finished.
 */
import { DurableObject, WorkflowEntrypoint, type WorkflowEvent, type WorkflowStep } from "cloudflare:workers";

interface Body {
  type: string;
  input: { ticket: number };
}

interface RivalsEnv {
  ROWS: DurableObjectNamespace<Rows>;
  QUEUE: Queue<Body>;
  QUEUE_1: Queue<Body>;
  WORKFLOW: Workflow<Body>;
}

type Rival = { begin(body: Body, env: RivalsEnv, ctx: ExecutionContext): Promise<void> | void } & {
  finished(env: RivalsEnv): Promise<number> | number;
};

/** As many objects as Sluice has shards. */
const OBJECTS = ["s0", "s1", "s2", "s3"];

const finished = { "wait-until": 0, queue: 0, "queue-1": 0, workflow: 0 };

/** A `ticket` of 0 means that the task must not log; see tickets.ts. */
async function runTask({ input }: Body): Promise<void> {
  if (input.ticket !== 0) console.log(`started ${input.ticket}`);
}

export class Rows extends DurableObject<RivalsEnv> {
  readonly #sql = this.ctx.storage.sql;

  constructor(ctx: DurableObjectState, env: RivalsEnv) {
    super(ctx, env);
    this.#sql.exec(`CREATE TABLE IF NOT EXISTS task (
      id            TEXT PRIMARY KEY,
      type          TEXT NOT NULL,
      input         TEXT NOT NULL,
      status        TEXT NOT NULL,
      created_at_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID`);
  }

  insert(id: string, type: string, input: string): void {
    this.#sql.exec("INSERT INTO task VALUES (?, ?, ?, 'queued', ?)", id, type, input, Date.now());
  }

  count(): number {
    return this.#sql.exec<{ count: number }>("SELECT count(*) AS count FROM task").one().count;
  }
}

export class OneStep extends WorkflowEntrypoint<RivalsEnv, Body> {
  override async run({ payload }: Readonly<WorkflowEvent<Body>>, step: WorkflowStep): Promise<void> {
    await step.do("task", async () => runTask(payload));
    finished.workflow++;
  }
}

const RIVALS: Record<string, Rival> = {
  "/wait-until": {
    begin: (body, _env, ctx) => ctx.waitUntil(runTask(body).then(() => finished["wait-until"]++)),
    finished: () => finished["wait-until"],
  },
  "/insert": {
    async begin({ type, input }, env) {
      const name = OBJECTS[Math.floor(Math.random() * OBJECTS.length)] ?? "s0";
      // Ordered by time, like Sluice's ids.
      const id = `${name}-${Date.now().toString(16)}-${crypto.randomUUID()}`;
      await env.ROWS.getByName(name).insert(id, type, JSON.stringify(input));
    },
    async finished(env) {
      const counts = await Promise.all(OBJECTS.map(async (name) => env.ROWS.getByName(name).count()));
      return counts.reduce((sum, count) => sum + count, 0);
    },
  },
  "/queue": {
    async begin(body, env) {
      await env.QUEUE.send(body);
    },
    finished: () => finished.queue,
  },
  "/queue-1": {
    async begin(body, env) {
      await env.QUEUE_1.send(body);
    },
    finished: () => finished["queue-1"],
  },
  "/workflow": {
    async begin(body, env) {
      await env.WORKFLOW.create({ params: body });
    },
    finished: () => finished.workflow,
  },
};

export default {
  async fetch(request, env, ctx): Promise<Response> {
    const rival = RIVALS[new URL(request.url).pathname];
    if (!rival) return new Response(null, { status: 404 });
    if (request.method === "GET") return Response.json(await rival.finished(env));
    await rival.begin(await request.json<Body>(), env, ctx);
    return Response.json({}, { status: 202 });
  },

  async queue(batch): Promise<void> {
    for (const message of batch.messages) await runTask(message.body);
    finished[batch.queue === "queue-1" ? "queue-1" : "queue"] += batch.messages.length;
  },
} satisfies ExportedHandler<RivalsEnv, Body>;
