import { WorkerEntrypoint } from "cloudflare:workers";

/** The entrypoints of src/index.ts that are upstreams; `entrypoint` in UPSTREAMS names one. */
export const embeddedUpstreams = new Set(["DemoUpstream"]);

/** An upstream inside this Worker, so that everything can be tried with no internet: `/todos/{n}`, 200 ms late. */
export class DemoUpstream extends WorkerEntrypoint<Env> {
  override async fetch(request: Request): Promise<Response> {
    const id = Number(/^\/todos\/([1-9]\d{0,8})$/.exec(new URL(request.url).pathname)?.[1]);
    await scheduler.wait(200);
    if (Number.isNaN(id)) return Response.json({}, { status: 404 });
    return Response.json({ userId: 1, id, title: "walk along the mill race", completed: id % 2 === 0 });
  }
}
