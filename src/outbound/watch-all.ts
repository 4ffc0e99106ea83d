/** The statuses of all upstreams as they change: each a stream of its own. */
import type { Watched } from "../kernel/merged-events.ts";
import { readUpstreams } from "./upstreams.ts";
import { watch } from "./watch.ts";

/** `caller` is the name of the token. */
export function watchUpstreams(env: Env, caller: string): Watched[] {
  return [...readUpstreams(env).values()].map((upstream) => ({
    name: `upstream ${upstream.name}`,
    status: "upstream",
    open: async () => watch(env, upstream, caller),
  }));
}
