import { WorkerEntrypoint } from "cloudflare:workers";
import { respondAsList } from "./demo/list.ts";
import { respondAsSite } from "./demo/site.ts";

/** The entrypoints of src/index.ts that are upstreams. `entrypoint` in UPSTREAMS must name one of them. */
export const embeddedUpstreams = new Set(["DemoUpstream"]);

/**
 * An upstream inside this Worker, to try everything without internet: `/todos` and `/todos/{n}`, a small site under
 * `/site/`, and a paginated list at `/sightings`. Each responds after 200 ms.
 */
export class DemoUpstream extends WorkerEntrypoint<Env> {
  override async fetch(request: Request): Promise<Response> {
    const url = new URL(request.url);
    await scheduler.wait(200);
    return respondAsSite(url) ?? respondAsList(url) ?? respondAsTodos(url);
  }
}

function respondAsTodos({ pathname }: URL): Response {
  if (pathname === "/todos") return Response.json([1, 2, 3].map(todo));
  const id = Number(/^\/todos\/([1-9]\d{0,8})$/.exec(pathname)?.[1]);
  return Number.isNaN(id) ? Response.json({}, { status: 404 }) : Response.json(todo(id));
}

const todo = (id: number) => ({ userId: 1, id, title: "walk along the mill race", completed: id % 2 === 0 });
