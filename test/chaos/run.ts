/**
 * `npm run chaos -- <part> [options]`: breaks what can break, and checks that the promises still hold. The run.ts of
 * each part lists its options. The exit code is 1 if a promise is broken.
 */
import { run as files } from "./files/run.ts";
import { run as forms } from "./forms/run.ts";
import { run as jobs } from "./jobs/run.ts";
import { run as outbound } from "./outbound/run.ts";
import { run as tasks } from "./tasks/run.ts";
import { run as values } from "./values/run.ts";

/** Each resolves to whether every promise was kept. */
const parts: Record<string, (args: string[]) => Promise<boolean>> = {
  outbound,
  files,
  forms,
  tasks,
  jobs,
  values,
};

// Exits normally, so that the "exit" handlers end everything that was started.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(130));

const [name = "", ...args] = process.argv.slice(2);
const run = Object.hasOwn(parts, name) ? parts[name] : undefined;
if (!run) {
  console.error(`usage: npm run chaos -- ${Object.keys(parts).join(" | ")} [options]`);
  process.exit(2);
}
process.exit((await run(args)) ? 0 : 1);
