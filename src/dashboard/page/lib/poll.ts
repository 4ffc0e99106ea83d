/** Reads again and again while the page is seen. A read that is under way is broken off when its view goes. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { ApiError, getJson } from "./api.ts";

export interface Polled<T> {
  /** The latest; undefined before the first. */
  value: T | undefined;
  /** What the last read failed with: then `value` is stale. */
  error: string | undefined;
  refresh: () => void;
}

/** What `path` has, read again every `intervalMs`, and at once when `path` changes. */
export function usePolled<T>(path: string, intervalMs: number): Polled<T> {
  const value = useSignal<T | undefined>(undefined);
  const error = useSignal<string | undefined>(undefined);
  const turn = useSignal(0);
  useEffect(() => {
    const gone = new AbortController();
    let timer: ReturnType<typeof setTimeout>;
    const read = async () => {
      if (!document.hidden) {
        try {
          value.value = await getJson<T>(path, { signal: gone.signal });
          error.value = undefined;
        } catch (failure) {
          if (!gone.signal.aborted)
            error.value = failure instanceof ApiError ? failure.message : String(failure);
        }
      }
      if (!gone.signal.aborted) timer = setTimeout(next, intervalMs);
    };
    const next = () => void read();
    next();
    return () => {
      gone.abort();
      clearTimeout(timer);
    };
  }, [path, turn.value]);
  const refresh = () => {
    turn.value++;
  };
  return { value: value.value, error: error.value, refresh };
}

/** Says that what is shown is not up to date. */
export const staleText = ({ error }: Pick<Polled<unknown>, "error">): string =>
  error === undefined ? "" : `Not up to date: ${error}`;
