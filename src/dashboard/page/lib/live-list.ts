/** A list that the API has, kept up to date by what happens (live.ts). */
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { getJson } from "./api.ts";
import { type Listener, useLive } from "./live.ts";
import { notify } from "./notices.tsx";

/** Whatever asks for the list to be read within this time, such as several objects that begin, shares one reading. */
const READ_MS = 300;

export interface LiveList<T> {
  /** Undefined until it is read. */
  value: T | undefined;
  /** What the last reading failed with. */
  error: string | undefined;
  /** How many changes came while it is held. */
  missed: number;
  /** Reads it now. */
  refresh: () => void;
}

/** The list after a change; "read" if it must be read again for that. */
type Change<T> = (value: T) => T | "read";
/** Has `size` things changed. */
export type Apply<T> = (size: number, change: Change<T>) => void;

/**
 * What `path` has. `isHeld`: what is shown stays as it is, and is read again after that. `listen` returns what listens, and
 * gives changes to `apply`.
 */
export function useLiveList<T>(
  path: string,
  isHeld: boolean,
  listen: (apply: Apply<T>) => Listener,
): LiveList<T> {
  const read = useSignal<{ path: string; value: T } | undefined>(undefined);
  const error = useSignal<string | undefined>(undefined);
  const missed = useSignal(0);
  const turn = useSignal(0);
  /** What has changed since the reading that is under way, if one is: its response may be older. */
  const since = useRef<Change<T>[] | undefined>(undefined);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const refresh = () => {
    missed.value = 0;
    turn.value++;
  };
  const refreshSoon = () => {
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      // A reading that is under way ends first: else a slow one would be broken off again and again.
      if (since.current) refreshSoon();
      else refresh();
    }, READ_MS);
  };
  const put = (value: T, change: Change<T>): T => {
    const changed = change(value);
    if (changed !== "read") return changed;
    refreshSoon();
    return value;
  };
  useEffect(() => {
    const gone = new AbortController();
    const load = async () => {
      const changes: Change<T>[] = [];
      since.current = changes;
      try {
        const value = await getJson<T>(path, { signal: gone.signal });
        read.value = { path, value: changes.reduce(put, value) };
        error.value = undefined;
      } catch (failure) {
        if (!gone.signal.aborted) error.value = failure instanceof Error ? failure.message : String(failure);
      }
      if (since.current === changes) since.current = undefined;
    };
    load().catch(notify);
    return () => gone.abort();
  }, [path, turn.value]);
  useEffect(() => {
    if (!isHeld && missed.value > 0) refresh();
  }, [isHeld]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const apply: Apply<T> = (size, change) => {
    if (size === 0) return;
    if (isHeld) {
      missed.value += size;
      return;
    }
    since.current?.push(change);
    if (read.value?.path === path) read.value = { path, value: put(read.value.value, change) };
  };
  useLive({
    ...listen(apply),
    reset: () => {
      if (isHeld) missed.value++;
      else refreshSoon();
    },
  });
  // A reading that was under way when the list came to be held ends all the same.
  const shown = useRef(read.value);
  if (!isHeld || shown.current?.path !== path) shown.current = read.value;
  const value = shown.current?.path === path ? shown.current.value : undefined;
  return { value, error: error.value, missed: missed.value, refresh };
}
