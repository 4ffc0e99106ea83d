import { env as startEnv } from "cloudflare:workers";
import { createDashboard } from "./dashboard/index.ts";
import { createDocs, INFO } from "./docs/index.ts";
import {
  fileRoutes,
  linkRoutes,
  readFileSettings,
  storeRoutes,
  uploadOptionsRoutes,
  uploadRoutes,
} from "./files/index.ts";
import { hello } from "./hello.ts";
import { jobRoutes, readCallbackTargets } from "./jobs/index.ts";
import { readAccess } from "./kernel/access.ts";
import { createApp, type Router } from "./kernel/app.ts";
import { health } from "./kernel/health.ts";
import { outboundRoutes, readDataSource } from "./outbound/index.ts";
import {
  readTaskSettings,
  scheduleRoutes,
  steeringRoutes,
  submitRoutes,
  taskRoutes,
  wakeOverdue,
} from "./tasks/index.ts";

export { FileCatalogue, UploadSession } from "./files/index.ts";
export { FileTasks } from "./jobs/index.ts";
export { DemoUpstream, Semaphore } from "./outbound/index.ts";
export { Scheduler, TaskLedger, TaskRunner } from "./tasks/index.ts";

// Throws, so that the Worker does not start, when a variable is wrong.
for (const read of [readAccess, readFileSettings, readDataSource, readTaskSettings, readCallbackTargets])
  read(startEnv);

const app: Router = createApp({
  open: [health, uploadOptionsRoutes, linkRoutes],
  closed: [
    createDashboard(() => app.getOpenAPI31Document(INFO)),
    createDocs(() => app.getOpenAPI31Document(INFO)),
    hello,
    jobRoutes,
    taskRoutes,
    submitRoutes,
    steeringRoutes,
    scheduleRoutes,
    fileRoutes,
    storeRoutes,
    uploadRoutes,
    outboundRoutes,
  ],
});

export default {
  fetch: app.fetch,
  async scheduled({ scheduledTime }, env) {
    await wakeOverdue(env, scheduledTime);
  },
} satisfies ExportedHandler<Env>;
