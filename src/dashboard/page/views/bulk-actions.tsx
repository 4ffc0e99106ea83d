/** One action on all tasks that match the filters: counted first, confirmed, and then done by a task whose progress is shown. */
import { useSignal } from "@preact/signals";
import { getJson, sendJson } from "../lib/api.ts";
import { act, announce } from "../lib/notices.tsx";
import { linkTo, route } from "../lib/route.ts";
import { listQuery, tagsIn } from "../lib/task-page.ts";
import { FINAL_STATUSES, type Task } from "../lib/types.ts";

const ACTIONS = {
  cancel: { label: "Cancel", done: "cancelled" },
  retry: { label: "Retry", done: "retried" },
  delete: { label: "Delete", done: "deleted" },
} as const;
type Action = keyof typeof ACTIONS;

const POLL_MS = 1_000;

/** What would be done, as the server has counted it. */
interface Plan {
  action: Action;
  filter: Record<string, unknown>;
  count: number;
  /** False: there are more. */
  complete: boolean;
}

export function BulkActions({ onDone }: { onDone: () => void }) {
  const plan = useSignal<Plan | undefined>(undefined);
  const running = useSignal<Task | undefined>(undefined);
  const prepare = (action: Action) => async () => {
    const filter = filterIn(route.value.query);
    const preview = await sendJson<Plan>("POST", "/tasks/bulk", { action, filter, dry_run: true });
    plan.value = preview && { ...preview, filter };
    if (preview?.count !== 0) return;
    announce(`None of the tasks that match can be ${ACTIONS[action].done}.`);
    plan.value = undefined;
  };
  const run = async ({ action, filter }: Plan) => {
    plan.value = undefined;
    const link = await sendJson<{ id: string }>("POST", "/tasks/bulk", { action, filter });
    if (!link) return;
    const task = await follow(link.id, (now) => {
      running.value = now;
    });
    running.value = undefined;
    onDone();
    announce(describe(action, task));
  };
  return (
    <section aria-label="All that match" class="controls">
      <span>All that match:</span>
      {(["cancel", "retry", "delete"] as const).map((action) => (
        <button
          key={action}
          type="button"
          class="quiet"
          disabled={running.value !== undefined}
          onClick={act(prepare(action))}
        >
          {ACTIONS[action].label}
        </button>
      ))}
      {plan.value && <Confirm plan={plan} onYes={run} />}
      <Progress task={running.value} />
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
  const { action, count, complete } = shown;
  const tasks = `${complete ? "" : "more than "}${count.toLocaleString()} ${count === 1 ? "task" : "tasks"}`;
  return (
    <span role="alertdialog" aria-label="Confirm" class="controls">
      {ACTIONS[action].label} {tasks}?
      <button type="button" onClick={act(async () => onYes(shown))}>
        {ACTIONS[action].label} {count}
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

function Progress({ task }: { task: Task | undefined }) {
  return (
    <span role="status">
      {task && (
        <>
          <a href={linkTo("tasks", task.id)}>At work</a>: {task.progress?.message ?? "it begins"}
        </>
      )}
    </span>
  );
}

/** The filters of the list, as POST /tasks/bulk takes them. */
function filterIn(query: URLSearchParams): Record<string, unknown> {
  const filter: Record<string, unknown> = Object.fromEntries(
    [...listQuery(query)].filter(([name, value]) => value !== "" && !["limit", "cursor"].includes(name)),
  );
  const [tag, status, text] = [tagsIn(query), (query.get("status") ?? "").split(","), query.get("text")];
  return {
    ...filter,
    ...(tag.length > 0 && { tag }),
    ...(status[0] && { status }),
    ...(text && { text }),
  };
}

/** The task, once it has ended; `tell` has it until then. */
async function follow(id: string, tell: (task: Task) => void): Promise<Task> {
  for (;;) {
    const task = await getJson<Task>(`/tasks/${id}`);
    if (FINAL_STATUSES.includes(task.status)) return task;
    tell(task);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

interface Result {
  done: number;
  skipped: number;
  failed: number;
}

function describe(action: Action, { status, result, error }: Task): string {
  if (status !== "succeeded")
    return `Not all tasks were ${ACTIONS[action].done}: ${error?.message ?? status}.`;
  const { done, skipped, failed }: Result = JSON.parse(JSON.stringify(result));
  const rest = [
    [skipped, "could no longer be"],
    [failed, "failed"],
  ]
    .filter(([count]) => count !== 0)
    .map(([count, what]) => `${count} ${what}`);
  return [`${done.toLocaleString()} tasks ${ACTIONS[action].done}`, ...rest].join(", ").concat(".");
}
