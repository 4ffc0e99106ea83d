/**
 * What happens, as it happens: one event stream (`GET /events`) for the whole page. It has only what some view has listened
 * for since it was opened, so that other objects can sleep.
 *
 * A stream that begins says nothing of what was before, so whoever listens reads its list again at `reset`. While nothing
 * happens the stream ends, to let the objects sleep; then it is opened again each minute, and at once when somebody does
 * something here. It is closed while nobody sees the page.
 */
import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { onChange, readSession } from "./api.ts";
import type { FileChanges, ScheduleChanges, TaskChanges } from "./types.ts";
import type { Status } from "./upstream.ts";

/** The events, and what each has. */
interface News {
  tasks: TaskChanges;
  files: FileChanges;
  schedules: ScheduleChanges;
  /** The status of an upstream, which has changed. */
  upstream: Status;
}
type Handlers = { [Name in keyof News]?: (news: News[Name]) => void };

export interface Listener extends Handlers {
  /** Something was missed of what is listened for. */
  reset?: () => void;
}

const NAMES = ["tasks", "files", "schedules", "upstream"] as const satisfies (keyof News)[];
/** As the query of `GET /events` has it. */
const kindOf = (name: keyof News) => (name === "upstream" ? "upstreams" : name);

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

/** Each as its component has rendered it last. */
const listeners = new Set<{ readonly current: Listener }>();
let isStarted = false;
let source: EventSource | undefined;
/** What the stream has. */
let opened: readonly (keyof News)[] = [];
let silence: ReturnType<typeof setTimeout>;
let reopening: ReturnType<typeof setTimeout>;

/** Has the component listen while it is shown. */
export function useLive(listener: Listener): void {
  const latest = useRef(listener);
  latest.current = listener;
  useEffect(() => {
    listeners.add(latest);
    if (isStarted && !document.hidden && wanted().some((name) => !opened.includes(name))) open();
    return () => void listeners.delete(latest);
  }, []);
}

const wanted = () => NAMES.filter((name) => [...listeners].some(({ current }) => current[name]));

/** Opens the stream, and keeps it open. Returns what ends that. */
export function startLive(): () => void {
  document.addEventListener("visibilitychange", onVisibility);
  const stopWaking = onChange(() => liveness.value === "idle" && open());
  isStarted = true;
  onVisibility();
  return () => {
    isStarted = false;
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
  opened = wanted();
  if (opened.length === 0) return;
  const stream = new EventSource(`/events?kinds=${opened.map(kindOf).join()}`);
  source = stream;
  const on = (name: string, handle: (data: string) => void) =>
    stream.addEventListener(name, (event: MessageEvent<string>) => {
      heard();
      handle(event.data);
    });
  on("begin", (data) => {
    const begin: { lacking: string[] } = JSON.parse(data);
    lacking.value = begin.lacking;
  });
  for (const name of NAMES) on(name, (data) => tell(name, JSON.parse(data)));
  on("reset", (data) => {
    const { of }: { of?: keyof News } = JSON.parse(data);
    // Objects of an earlier version do not say of what.
    for (const { current } of listeners) if (of === undefined || current[of]) current.reset?.();
  });
  on("idle", () => {
    close();
    liveness.value = "idle";
    reopening = setTimeout(open, IDLE_MS);
  });
  stream.addEventListener("error", () => {
    if (source !== stream) return;
    close();
    liveness.value = "stale";
    reopening = setTimeout(open, RETRY_MS);
    // An EventSource does not say why: perhaps the session has ended.
    readSession().catch(() => undefined);
  });
}

function tell<Name extends keyof News>(name: Name, news: News[Name]): void {
  for (const { current } of listeners) {
    const handlers: Handlers = current;
    handlers[name]?.(news);
  }
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
  opened = [];
}
