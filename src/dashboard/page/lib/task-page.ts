/** The page of tasks that the filters in the URL ask for, kept up to date. */
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { getJson } from "./api.ts";
import { useLive } from "./live.ts";
import { notify } from "./notices.tsx";
import { route } from "./route.ts";
import { type TaskFilter, withChanges } from "./task-list.ts";
import type { TaskLine } from "./types.ts";

interface List {
  tasks: TaskLine[];
  next: string | null;
}

const LIMIT = 50;
/** The list of an object that was not heard of is read once for all that come together. */
const RESET_MS = 300;

export interface TaskPage {
  /** Undefined until they are read. */
  tasks: readonly TaskLine[] | undefined;
  next: string | null;
  error: string | undefined;
  /** How many changes came while the page is held. */
  missed: number;
  refresh: () => void;
}

/** `isHeld`: what is shown stays as it is. */
export function useTaskPage(isHeld: boolean): TaskPage {
  const { query } = route.value;
  const path = `/tasks?${String(listQuery(query))}`;
  const page = useSignal<({ path: string } & List) | undefined>(undefined);
  const error = useSignal<string | undefined>(undefined);
  const missed = useSignal(0);
  const turn = useSignal(0);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const refresh = () => {
    missed.value = 0;
    turn.value++;
  };
  useEffect(() => {
    const gone = new AbortController();
    const read = async () => {
      try {
        page.value = { path, ...(await getJson<List>(path, { signal: gone.signal })) };
        error.value = undefined;
      } catch (failure) {
        if (!gone.signal.aborted) error.value = failure instanceof Error ? failure.message : String(failure);
      }
    };
    read().catch(notify);
    return () => gone.abort();
  }, [path, turn.value]);
  useEffect(() => {
    if (!isHeld && missed.value > 0) refresh();
  }, [isHeld]);
  useLive({
    tasks: (changes) => {
      const size = changes.tasks.length + changes.removed.length;
      if (size === 0 || page.value?.path !== path) return;
      if (isHeld) missed.value += size;
      else {
        const place = { limit: LIMIT, isFirst: !query.has("cursor") };
        page.value = { ...page.value, tasks: withChanges(page.value.tasks, changes, filterOf(query), place) };
      }
    },
    reset: () => {
      if (isHeld) missed.value++;
      else
        timer.current ??= setTimeout(() => {
          timer.current = undefined;
          refresh();
        }, RESET_MS);
    },
  });
  // A read that was under way when the page came to be held ends all the same.
  const shown = useRef(page.value);
  if (!isHeld || shown.current?.path !== path) shown.current = page.value;
  const list = shown.current?.path === path ? shown.current : undefined;
  return {
    tasks: list?.tasks,
    next: list?.next ?? null,
    error: error.value,
    missed: missed.value,
    refresh,
  };
}

/** The query of `GET /tasks` for the filters in the URL. */
export function listQuery(filters: URLSearchParams, limit = LIMIT): URLSearchParams {
  const query = new URLSearchParams({ limit: String(limit) });
  for (const name of ["status", "type", "tag", "schedule", "error", "cursor"])
    query.set(name, filters.get(name) ?? "");
  for (const name of ["created_after", "created_before"]) {
    const time = Date.parse(filters.get(name) ?? "");
    if (!Number.isNaN(time)) query.set(name, new Date(time).toISOString());
  }
  return query;
}

/** The tags that the list is filtered by. */
export const tagsIn = (query: URLSearchParams): string[] =>
  (query.get("tag") ?? "").split(",").filter(Boolean);

function filterOf(query: URLSearchParams): TaskFilter {
  return {
    statuses: (query.get("status") ?? "").split(",").filter(Boolean),
    type: query.get("type") ?? "",
    fromMs: Date.parse(query.get("created_after") ?? "") || 0,
    untilMs: Date.parse(query.get("created_before") ?? "") || Number.POSITIVE_INFINITY,
    tags: tagsIn(query),
    schedule: query.get("schedule") ?? "",
    error: query.get("error") ?? "",
  };
}
