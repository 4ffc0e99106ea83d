/** Calls to other people's APIs, under limits that the whole fleet shares. */
export { type DescribedRequest, requestErrors } from "./check-request.ts";
export { retryAfterMs } from "./client/headers.ts";
export { targetOf } from "./client/path.ts";
export { DemoUpstream } from "./demo.ts";
export { fetchUpstream } from "./fetch-upstream.ts";
export { UpstreamCache } from "./proxy/upstream-cache.ts";
export { readUpstreamFigures } from "./read-figures.ts";
export { outboundRoutes } from "./routes.ts";
export { Semaphore } from "./semaphore/semaphore.ts";
export { statusOfAll } from "./steer.ts";
export {
  checkUpstreamSecrets,
  METHODS,
  readDataSource,
  readUpstreams,
  SAFE_METHODS,
  type Upstream,
} from "./upstreams.ts";
export { watchUpstreams } from "./watch-all.ts";
