/**
 * The Worker: mounts the features, and exports the Durable Object classes and entrypoints that wrangler.toml names.
 * A route of your own is one line in `api`, as src/jobs/README.md shows.
 */
import { env as startEnv } from "cloudflare:workers";
import { auditChanges, auditRoutes, readAuditSettings } from "./audit/index.ts";
import {
  dashboard,
  eventsLinkRoute,
  eventsRoute,
  favicon,
  sessionRoutes,
  signIn,
} from "./dashboard/index.ts";
import { createDocs, describeApi, VERSION } from "./docs/index.ts";
import {
  fileRoutes,
  grantedRoutes,
  grantRoutes,
  heldRoutes,
  linkRoutes,
  readFileSettings,
  storeRoutes,
  uploadOptionsRoutes,
  uploadRoutes,
} from "./files/index.ts";
import { hello } from "./hello.ts";
import { bulkRoutes, jobRoutes, quotaRoutes, readCallbackTargets, readEmailSettings } from "./jobs/index.ts";
import { readAccess } from "./kernel/access.ts";
import { createApp, createRouter, type Router } from "./kernel/app.ts";
import { readCallbackKeys } from "./kernel/callbacks.ts";
import { health } from "./kernel/health.ts";
import { readPlacement } from "./kernel/objects.ts";
import { readQuotas } from "./kernel/quotas.ts";
import { notePlace } from "./kernel/regions.ts";
import { checkSecrets } from "./kernel/secrets.ts";
import { readLinkKeys } from "./kernel/signatures.ts";
import { readSpanTarget } from "./kernel/spans.ts";
import { checkTokens } from "./kernel/tokens.ts";
import { createMetrics } from "./metrics/index.ts";
import { checkUpstreamSecrets, outboundRoutes, readDataSource } from "./outbound/index.ts";
import {
  readTaskSettings,
  scheduleRoutes,
  signalLinkRoutes,
  signalRoutes,
  steeringRoutes,
  submitRoutes,
  taskEventLinkRoutes,
  taskEventRoutes,
  taskRoutes,
  typeRoutes,
  wakeOverdue,
} from "./tasks/index.ts";

export { AuditLog } from "./audit/index.ts";
export { FileCatalogue, UploadSession } from "./files/index.ts";
export { FileTasks } from "./jobs/index.ts";
export { Sessions } from "./kernel/sessions.ts";
export { DemoUpstream, Semaphore, UpstreamCache } from "./outbound/index.ts";
export { Scheduler, TaskLedger, TaskRunner } from "./tasks/index.ts";

// Throws, so that the Worker does not start, when a variable is wrong. A wrong secret is logged: it closes what needs it.
for (const read of [
  readPlacement,
  readAccess,
  readQuotas,
  readFileSettings,
  readDataSource,
  readTaskSettings,
  readCallbackTargets,
  readEmailSettings,
  readSpanTarget,
  readAuditSettings,
])
  read(startEnv);
checkSecrets(startEnv, [checkTokens, readLinkKeys, readCallbackKeys, checkUpstreamSecrets]);

/** The routes that need a token. */
const api = createRouter()
  .route("/", hello)
  .route("/", jobRoutes)
  .route("/", taskRoutes)
  .route("/", typeRoutes)
  .route("/", taskEventRoutes)
  .route("/", submitRoutes)
  .route("/", steeringRoutes)
  .route("/", bulkRoutes)
  .route("/", quotaRoutes)
  .route("/", signalRoutes)
  .route("/", scheduleRoutes)
  .route("/", fileRoutes)
  .route("/", storeRoutes)
  .route("/", heldRoutes)
  .route("/", grantRoutes)
  .route("/", uploadRoutes)
  .route("/", outboundRoutes)
  .route("/", auditRoutes);

/** For Hono's client: `hc<Api>("https://sluice.example.com")` has the type of each route in `api`. */
export type Api = typeof api;

const describe = describeApi(() => app);

const app: Router = createApp({
  around: [auditChanges],
  open: [
    health,
    favicon,
    dashboard,
    signIn,
    uploadOptionsRoutes,
    linkRoutes,
    signalLinkRoutes,
    taskEventLinkRoutes,
    eventsLinkRoute,
    grantedRoutes,
  ],
  closed: [api, sessionRoutes, eventsRoute, createDocs(describe), createMetrics(VERSION)],
});

export default {
  fetch(request, env, ctx) {
    notePlace(ctx, request);
    return app.fetch(request, env, ctx);
  },
  async scheduled({ scheduledTime }, env) {
    await wakeOverdue(env, scheduledTime);
  },
} satisfies ExportedHandler<Env>;
