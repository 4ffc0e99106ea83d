/**
 * The task types. They change with a deploy, and are paused and resumed at any time, of which no event tells: so they are
 * read again and again while the page is seen.
 */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { getJson } from "./api.ts";
import type { TaskType } from "./types.ts";

const INTERVAL_MS = 15_000;

interface Types {
  /** Undefined until they are read. */
  types: readonly TaskType[] | undefined;
  /** Reads them now. */
  refresh: () => void;
}

export function useTaskTypes(): Types {
  const types = useSignal<readonly TaskType[] | undefined>(undefined);
  const turn = useSignal(0);
  useEffect(() => {
    const gone = new AbortController();
    let timer: ReturnType<typeof setTimeout>;
    const read = async () => {
      if (!document.hidden) {
        // Those that were read last are shown on; what is wrong with the connection, the stream says.
        const found = await getJson<{ taskTypes: TaskType[] }>("/task-types", { signal: gone.signal }).catch(
          () => undefined,
        );
        if (found) types.value = found.taskTypes;
      }
      if (!gone.signal.aborted) timer = setTimeout(next, INTERVAL_MS);
    };
    const next = () => void read();
    next();
    return () => {
      gone.abort();
      clearTimeout(timer);
    };
  }, [turn.value]);
  const refresh = () => {
    turn.value++;
  };
  return { types: types.value, refresh };
}
