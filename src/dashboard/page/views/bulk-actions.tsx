/** One action on all tasks that match the filters: counted first, and confirmed. */
import { useSignal } from "@preact/signals";
import { ApiError, call, getJson, may } from "../lib/api.ts";
import { act, announce } from "../lib/notices.tsx";
import { route } from "../lib/route.ts";
import { hasText } from "../lib/task-list.ts";
import { listQuery } from "../lib/task-page.ts";
import type { TaskLine } from "../lib/types.ts";

const ACTIONS = {
  cancel: { label: "Cancel", done: "cancelled", of: ["scheduled", "queued", "running"], needs: "read" },
  retry: { label: "Retry", done: "retried", of: ["failed", "cancelled"], needs: "read" },
  delete: { label: "Delete", done: "deleted", of: ["succeeded", "failed", "cancelled"], needs: "write" },
} as const;
type Action = keyof typeof ACTIONS;

/** Whoever has more than this narrows the filters, or does it again. */
const MAX_TASKS = 2_000;
const PAGE = 500;
const AT_ONCE = 6;

interface Plan {
  action: Action;
  ids: string[];
  /** There are more. */
  isCut: boolean;
}

export function BulkActions({ onDone }: { onDone: () => void }) {
  const plan = useSignal<Plan | undefined>(undefined);
  const progress = useSignal<string | undefined>(undefined);
  const prepare = (action: Action) => async () => {
    plan.value = await findTasks(action);
    if (plan.value.ids.length > 0) return;
    announce(`None of the tasks that match can be ${ACTIONS[action].done}.`);
    plan.value = undefined;
  };
  const run = async ({ action, ids }: Plan) => {
    plan.value = undefined;
    const failures = await runAll(action, ids, (done) => {
      progress.value = `${done} of ${ids.length}`;
    });
    progress.value = undefined;
    onDone();
    const refused =
      failures.size === 0 ? "" : ` ${[...failures].map(([why, n]) => `${n}: ${why}`).join(" ")}`;
    announce(`${ids.length - sum(failures)} of ${ids.length} tasks ${ACTIONS[action].done}.${refused}`);
  };
  return (
    <section aria-label="All that match" class="controls">
      <span>All that match:</span>
      {(["cancel", "retry", "delete"] as const)
        .filter((action) => may(ACTIONS[action].needs))
        .map((action) => (
          <button key={action} type="button" class="quiet" onClick={act(prepare(action))}>
            {ACTIONS[action].label}
          </button>
        ))}
      {plan.value && <Confirm plan={plan} onYes={run} />}
      <span role="status">{progress.value}</span>
    </section>
  );
}

function Confirm({
  plan,
  onYes,
}: {
  plan: { value: Plan | undefined };
  onYes: (plan: Plan) => Promise<void>;
}) {
  const shown = plan.value;
  if (!shown) return null;
  const { action, ids, isCut } = shown;
  return (
    <span role="alertdialog" aria-label="Confirm" class="controls">
      {ACTIONS[action].label} {ids.length.toLocaleString()} tasks{isCut && ", the newest of those that match"}
      ?
      <button type="button" onClick={act(async () => onYes(shown))}>
        {ACTIONS[action].label} {ids.length}
      </button>
      <button
        type="button"
        class="quiet"
        onClick={() => {
          plan.value = undefined;
        }}
      >
        Leave them
      </button>
    </span>
  );
}

/** The tasks that match the filters of the list, all pages of it, and that the action can be done to. */
async function findTasks(action: Action): Promise<Plan> {
  const filters = new URLSearchParams(route.value.query);
  const text = filters.get("text") ?? "";
  const able: readonly string[] = ACTIONS[action].of;
  const ids: string[] = [];
  filters.delete("cursor");
  for (;;) {
    const path = `/tasks?${String(listQuery(filters, PAGE))}`;
    const page = await getJson<{ tasks: TaskLine[]; next: string | null }>(path);
    for (const task of page.tasks) if (able.includes(task.status) && hasText(task, text)) ids.push(task.id);
    if (ids.length >= MAX_TASKS) return { action, ids: ids.slice(0, MAX_TASKS), isCut: true };
    if (page.next === null) return { action, ids, isCut: false };
    filters.set("cursor", page.next);
  }
}

/** Resolves to how often each refusal came. */
async function runAll(
  action: Action,
  ids: readonly string[],
  onProgress: (done: number) => void,
): Promise<Map<string, number>> {
  const failures = new Map<string, number>();
  const left = ids.values();
  let done = 0;
  const work = async () => {
    for (const id of left) {
      try {
        if (action === "delete") await call(`/tasks/${id}`, { method: "DELETE" });
        else await call(`/tasks/${id}/${action}`, { method: "POST" });
      } catch (error) {
        const why = error instanceof ApiError ? error.message : String(error);
        failures.set(why, (failures.get(why) ?? 0) + 1);
      }
      onProgress(++done);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return failures;
}

const sum = (counts: ReadonlyMap<string, number>): number => [...counts.values()].reduce((a, b) => a + b, 0);
