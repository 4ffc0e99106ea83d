import { WorkerEntrypoint } from "cloudflare:workers";

/** The entrypoints of src/index.ts that are upstreams. `entrypoint` in UPSTREAMS must name one of them. */
export const embeddedUpstreams = new Set(["DemoUpstream"]);

/** An upstream inside this Worker, to try everything without internet: `/todos` and `/todos/{n}`, after 200 ms. */
export class DemoUpstream extends WorkerEntrypoint<Env> {
  override async fetch(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    await scheduler.wait(200);
    if (pathname === "/todos") return Response.json([1, 2, 3].map(todo));
    const id = Number(/^\/todos\/([1-9]\d{0,8})$/.exec(pathname)?.[1]);
    return Number.isNaN(id) ? Response.json({}, { status: 404 }) : Response.json(todo(id));
  }
}

const todo = (id: number) => ({ userId: 1, id, title: "walk along the mill race", completed: id % 2 === 0 });
