/**
 * Where the dashboard is: a view and its filters, in the URL's fragment, so that a view can be linked, reloaded and left
 * with the browser's back button: `#/tasks?status=failed`, `#/tasks/{id}`.
 */
import { signal } from "@preact/signals";

export interface Route {
  view: string;
  /** What follows the view in the path: an id, decoded. "" for the whole view. */
  id: string;
  query: URLSearchParams;
}

function parse(hash: string): Route {
  const { pathname, searchParams } = new URL(hash.slice(1) || "/", "http://page");
  const [, view = "", ...rest] = pathname.split("/");
  return { view, id: decode(rest.join("/")), query: searchParams };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export const route = signal(parse(location.hash));
addEventListener("hashchange", () => {
  route.value = parse(location.hash);
});

/** The link to a view. Empty filters are left out. */
export function linkTo(view: string, id = "", query: Record<string, string | undefined> = {}): string {
  const filters = Object.entries(query).filter((entry): entry is [string, string] => Boolean(entry[1]));
  const text = String(new URLSearchParams(filters));
  return `#/${view}${id && `/${encodeURIComponent(id)}`}${text && `?${text}`}`;
}

/** Sets filters of this view. They replace the entry in the history, so that typing does not fill it. */
export function setQuery(changes: Record<string, string | undefined>): void {
  const { view, id, query } = route.value;
  const hash = linkTo(view, id, { ...Object.fromEntries(query), ...changes });
  history.replaceState(null, "", hash);
  route.value = parse(hash);
}
