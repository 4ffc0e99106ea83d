/** The page of tasks that the filters in the URL ask for, kept up to date. */
import { type LiveList, useLiveList } from "./live-list.ts";
import { route } from "./route.ts";
import { type TaskFilter, withChanges } from "./task-list.ts";
import type { TaskLine } from "./types.ts";

interface List {
  tasks: TaskLine[];
  next: string | null;
}

const LIMIT = 50;

/** `isHeld`: what is shown stays as it is. */
export function useTaskPage(isHeld: boolean): LiveList<List> {
  const { query } = route.value;
  const place = { limit: LIMIT, isFirst: !query.has("cursor") };
  return useLiveList<List>(`/tasks?${String(listQuery(query))}`, isHeld, (apply) => ({
    tasks: (changes) =>
      apply(changes.tasks.length + changes.removed.length, (page) => ({
        ...page,
        tasks: withChanges(page.tasks, changes, filterOf(query), place),
      })),
  }));
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
