/** How many tasks there are of each status, of the type that the list shows. A click filters the list. */
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { getJson } from "../lib/api.ts";
import { useLive } from "../lib/live.ts";
import { notify } from "../lib/notices.tsx";
import { route, setQuery } from "../lib/route.ts";
import { STATUSES } from "../lib/types.ts";

/** Counting reads every task, so it is not done at each change. */
const MIN_INTERVAL_MS = 2_000;

interface Count {
  type: string;
  status: string;
  count: number;
}

export function StatusCounts() {
  const counts = useCounts();
  const { query } = route.value;
  const type = query.get("type") ?? "";
  const chosen = query.get("status") ?? "";
  return (
    <ul class="counts" aria-label="How many there are">
      {STATUSES.map((status) => {
        const count = counts
          .filter((one) => one.status === status && (type === "" || one.type === type))
          .reduce((sum, one) => sum + one.count, 0);
        const isChosen = chosen === status;
        return (
          <li key={status}>
            <button
              type="button"
              class="quiet"
              aria-pressed={isChosen}
              onClick={() => setQuery({ status: isChosen ? undefined : status, cursor: undefined })}
            >
              {count.toLocaleString()} <span class={`state ${status}`}>{status}</span>
            </button>
          </li>
        );
      })}
    </ul>
  );
}

function useCounts(): Count[] {
  const counts = useSignal<Count[]>([]);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const read = async () => {
    // The list says what is wrong, if something is.
    const found = await getJson<{ counts: Count[] }>("/tasks/counts").catch(() => undefined);
    if (found) counts.value = found.counts;
  };
  const readSoon = () => {
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      read().catch(notify);
    }, MIN_INTERVAL_MS);
  };
  useLive({
    tasks: ({ tasks, removed }) => {
      if (tasks.length + removed.length > 0) readSoon();
    },
    reset: readSoon,
  });
  useEffect(() => {
    read().catch(notify);
    return () => clearTimeout(timer.current);
  }, []);
  return counts.value;
}
