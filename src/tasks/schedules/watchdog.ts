/**
 * The per-minute cron: sets alarms that were lost again, and logs by how much their objects are overdue.
 *
 * It calls only objects that exist: those in the registry, and the scheduler if there are schedules in the code, which it
 * must see at least once.
 */
import { errorFields, log } from "../../kernel/log.ts";
import { registeredObjects } from "../../kernel/object-registry.ts";
import { lacksMethod, objectNamed } from "../../kernel/objects.ts";
import { ledgerOn, SCHEDULER_NAME, schedulerOf } from "../ledger/shards.ts";
import { isShard } from "../ledger/task-id.ts";
import { declaredSchedules } from "./registry.ts";

const MINUTE_MS = 60_000;

/** `scheduledTimeMs`: when the cron was due. Never throws: one object's failure must not affect the others. */
export async function wakeOverdue(env: Env, scheduledTimeMs: number): Promise<void> {
  const cronLateMs = Date.now() - scheduledTimeMs;
  const rearm = async ({ what, call }: Tended) => {
    try {
      const lateMs = await call();
      if (lateMs > 0) log("warn", "overdue; its alarm was set again", { what, lateMs, cronLateMs });
    } catch (error) {
      // An object may still run the code of the version before.
      if (lacksMethod(error)) return;
      log("error", "the watchdog could not reach an object", { what, ...errorFields(error) });
    }
  };
  const names = await existing(env);
  await Promise.all(tendedAt(env, names, Math.floor(scheduledTimeMs / MINUTE_MS)).map(rearm));
}

async function existing(env: Env): Promise<Set<string>> {
  const scheduler = declaredSchedules().length > 0 ? [`SCHEDULER/${SCHEDULER_NAME}`] : [];
  try {
    return new Set([...(await registeredObjects(env)), ...scheduler]);
  } catch (error) {
    log("error", "the watchdog could not read which objects exist", errorFields(error));
    return new Set(scheduler);
  }
}

interface Tended {
  what: string;
  call: () => Promise<number>;
}

/** Tasks and schedules are tended every minute; of the catalogues, whose work is not urgent, one a minute in turn. */
function tendedAt(env: Env, names: Iterable<string>, minute: number): Tended[] {
  const objects = [...names].map((object): [binding: string, name: string] => {
    const [binding = "", name = ""] = object.split("/");
    return [binding, name];
  });
  const urgent = objects.flatMap(([binding, name]): Tended[] => {
    if (binding === "TASK_LEDGER" && isShard(name))
      return [{ what: `ledger ${name}`, call: async () => ledgerOn(env, name).rearm() }];
    if (binding === "SCHEDULER") return [{ what: "schedules", call: async () => schedulerOf(env).rearm() }];
    return [];
  });
  const catalogues = objects.flatMap(([binding, name]): Tended[] => {
    if (binding !== "FILE_CATALOGUE") return [];
    return [
      { what: `catalogue ${name}`, call: async () => objectNamed(env, "FILE_CATALOGUE", name).rearm() },
    ];
  });
  return [...urgent, ...catalogues.slice(minute % (catalogues.length || 1)).slice(0, 1)];
}
