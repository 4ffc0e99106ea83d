/** Calls to other people's APIs, under a limit that the whole fleet shares. */
export type { Caller } from "./client/client.ts";
export { DemoUpstream } from "./demo.ts";
export { proxy } from "./proxy/proxy.ts";
export { outboundRoutes } from "./routes.ts";
export { Semaphore } from "./semaphore/semaphore.ts";
export { readDataSource, readUpstreams, type Upstream } from "./upstreams.ts";
