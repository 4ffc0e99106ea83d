/**
 * What happens, as it happens: one event stream (`GET /events`) for the whole page.
 *
 * A stream that begins says nothing of what was before, so whoever listens reads its list again at `reset`. While nothing
 * happens the stream ends, to let the objects sleep; then it is opened again each minute, and at once when somebody does
 * something here. It is closed while nobody sees the page.
 */
import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { onChange } from "./api.ts";
import type { TaskLine } from "./types.ts";
import type { Status } from "./upstream.ts";

export interface TaskChanges {
  tasks: TaskLine[];
  removed: string[];
}

export interface Listener {
  /** Tasks were added or removed, or have changed. */
  tasks?: (changes: TaskChanges) => void;
  /** Something was missed. */
  reset?: () => void;
  /** The status of an upstream, which has changed. */
  upstream?: (status: Status) => void;
}

/** `idle`: nothing has happened for minutes. `stale`: what is shown may be out of date. */
const liveness = signal<"connecting" | "live" | "idle" | "stale">("connecting");
const LIVENESS = {
  connecting: "Connecting…",
  live: "Live",
  idle: "Nothing happens: looks again each minute",
  stale: "Not up to date: connecting again…",
};

export const describeLiveness = (): string => LIVENESS[liveness.value];

/** The objects that do not respond. */
export const lacking = signal<readonly string[]>([]);

/** Each object says something every 5 s. */
const MAX_SILENCE_MS = 12_000;
const IDLE_MS = 60_000;
const RETRY_MS = 2_000;

const listeners = new Set<Listener>();
let source: EventSource | undefined;
let silence: ReturnType<typeof setTimeout>;
let reopening: ReturnType<typeof setTimeout>;

/** Has the component listen while it is shown. */
export function useLive(listener: Listener): void {
  const latest = useRef(listener);
  latest.current = listener;
  useEffect(() => {
    const current: Listener = {
      tasks: (changes) => latest.current.tasks?.(changes),
      reset: () => latest.current.reset?.(),
      upstream: (status) => latest.current.upstream?.(status),
    };
    listeners.add(current);
    return () => void listeners.delete(current);
  }, []);
}

/** Opens the stream, and keeps it open. Returns what ends that. */
export function startLive(): () => void {
  document.addEventListener("visibilitychange", onVisibility);
  const stopWaking = onChange(() => liveness.value === "idle" && open());
  onVisibility();
  return () => {
    document.removeEventListener("visibilitychange", onVisibility);
    stopWaking();
    close();
  };
}

function onVisibility(): void {
  if (document.hidden) close();
  else open();
}

function open(): void {
  close();
  const opened = new EventSource("/events");
  source = opened;
  const on = (name: string, handle: (data: string) => void) =>
    opened.addEventListener(name, (event: MessageEvent<string>) => {
      heard();
      handle(event.data);
    });
  on("begin", (data) => {
    const begin: { lacking: string[] } = JSON.parse(data);
    lacking.value = begin.lacking;
  });
  on("tasks", (data) => {
    const changes: TaskChanges = JSON.parse(data);
    for (const listener of listeners) listener.tasks?.(changes);
  });
  on("reset", () => {
    for (const listener of listeners) listener.reset?.();
  });
  on("upstream", (data) => {
    const status: Status = JSON.parse(data);
    for (const listener of listeners) listener.upstream?.(status);
  });
  on("idle", () => {
    close();
    liveness.value = "idle";
    reopening = setTimeout(open, IDLE_MS);
  });
  opened.addEventListener("error", () => {
    if (source !== opened) return;
    close();
    liveness.value = "stale";
    reopening = setTimeout(open, RETRY_MS);
  });
}

function heard(): void {
  liveness.value = "live";
  clearTimeout(silence);
  silence = setTimeout(() => {
    liveness.value = "stale";
    open();
  }, MAX_SILENCE_MS);
}

function close(): void {
  clearTimeout(silence);
  clearTimeout(reopening);
  source?.close();
  source = undefined;
}
