/**
 * Asks every object for its figures. Those of tasks, schedules and files are asked only if they exist, since an object
 * lives for ever where its first call created it, and a scraper may be anywhere. Semaphores are in no list; they are few.
 */
import { readFileFigures } from "../files/index.ts";
import { errorFields, log } from "../kernel/log.ts";
import { registeredObjects } from "../kernel/object-registry.ts";
import { readUpstreamFigures } from "../outbound/index.ts";
import { readTaskFigures } from "../tasks/index.ts";
import type { Family } from "./exposition.ts";
import { toFamilies, upOf } from "./families.ts";

export async function readFamilies(env: Env, version: string): Promise<Family[]> {
  const [upstreams, others] = await Promise.all([readUpstreamFigures(env), readRegistered(env)]);
  const readings = [...upstreams, ...(others ?? [])];
  const { id, tag } = env.CF_VERSION_METADATA;
  return [
    upOf(readings),
    {
      name: "sluice_object_list_up",
      type: "gauge",
      help: "1 if the list of objects in the bucket could be read. Without it, no ledger and no catalogue is asked.",
      samples: [{ labels: {}, value: others ? 1 : 0 }],
    },
    ...toFamilies(readings),
    {
      name: "sluice_build",
      type: "info",
      help: "Which Sluice this is: its version, and that of the deployed Worker.",
      samples: [{ labels: { version, worker_version: id, tag }, value: 1 }],
    },
  ];
}

/** Undefined if it is not known which there are. */
async function readRegistered(env: Env) {
  try {
    const existing = await registeredObjects(env);
    return (await Promise.all([readTaskFigures(env, existing), readFileFigures(env, existing)])).flat();
  } catch (error) {
    log(
      "error",
      "the metrics lack all objects but semaphores: the list of them cannot be read",
      errorFields(error),
    );
    return undefined;
  }
}
