import { env as startEnv } from "cloudflare:workers";
import { createDashboard } from "./dashboard/index.ts";
import { createDocs, INFO } from "./docs/index.ts";
import {
  fileRoutes,
  linkRoutes,
  readFileSettings,
  storeRoutes,
  uploadPreface,
  uploadRoutes,
} from "./files/index.ts";
import { hello } from "./hello.ts";
import { jobRoutes } from "./jobs/index.ts";
import { readAccess } from "./kernel/access.ts";
import { createApp, type Router } from "./kernel/app.ts";
import { health } from "./kernel/health.ts";
import { outboundRoutes, readDataSource } from "./outbound/index.ts";
import { sweepTasks, taskRoutes } from "./tasks/index.ts";

export { FileCatalogue, UploadSession } from "./files/index.ts";
export { FileTasks } from "./jobs/index.ts";
export { DemoUpstream, Semaphore } from "./outbound/index.ts";
export { TaskLedger } from "./tasks/index.ts";

// Throws, so that the Worker does not start, when a variable is wrong.
for (const read of [readAccess, readFileSettings, readDataSource]) read(startEnv);

const app: Router = createApp({
  open: [health, uploadPreface, linkRoutes],
  closed: [
    createDashboard(() => app.getOpenAPI31Document(INFO)),
    createDocs(() => app.getOpenAPI31Document(INFO)),
    hello,
    jobRoutes,
    taskRoutes,
    fileRoutes,
    storeRoutes,
    uploadRoutes,
    outboundRoutes,
  ],
});

export default {
  fetch: app.fetch,
  async scheduled(_controller, env) {
    await sweepTasks(env);
  },
} satisfies ExportedHandler<Env>;
