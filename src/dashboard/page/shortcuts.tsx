/**
 * Keyboard shortcuts, and the dialog that lists them. Keys without a modifier can be hit by mistake, or by dictation, so they
 * can be turned off (WCAG 2.2 §2.1.4); while one writes in a field, none of them acts.
 */
import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { linkTo } from "./lib/route.ts";

/** How long after `g` the next key belongs to it. */
const SEQUENCE_MS = 1_500;
const OFF = "sluice-shortcuts-off";

const isOpen = signal(false);
const isOn = signal(localStorage.getItem(OFF) === null);

const go = (view: string, id?: string) => () => {
  location.hash = linkTo(view, id);
  document.querySelector<HTMLElement>("main")?.focus();
};

const SHORTCUTS: readonly { keys: string; label: string; run: () => void }[] = [
  { keys: "g s", label: "Start", run: go("") },
  { keys: "g t", label: "Tasks", run: go("tasks") },
  { keys: "g n", label: "New task", run: go("tasks", "new") },
  { keys: "g c", label: "Schedules", run: go("tasks", "schedules") },
  { keys: "g f", label: "Files", run: go("files") },
  { keys: "g u", label: "Upstreams", run: go("upstreams") },
  { keys: "/", label: "To the filter of a list", run: focusFilter },
  { keys: "?", label: "This list", run: show },
];

function show(): void {
  isOpen.value = true;
}

function focusFilter(): void {
  const main = document.querySelector("main");
  const filter =
    main?.querySelector<HTMLElement>("input[type=search]") ??
    main?.querySelector<HTMLElement>(".filters :is(input, select)");
  filter?.focus();
}

/** The key that was hit last, as long as it may begin a sequence. */
let before = { key: "", atMs: 0 };

function onKey(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || isOpen.value) return;
  const { target, key } = event;
  if (!isOn.value && key !== "?") return;
  if (target instanceof Element && target.closest("input, select, textarea, [contenteditable]")) return;
  const isSequence = event.timeStamp - before.atMs < SEQUENCE_MS;
  const keys = isSequence && before.key === "g" ? `g ${key}` : key;
  before = { key, atMs: event.timeStamp };
  const found = SHORTCUTS.find((shortcut) => shortcut.keys === keys);
  if (!found) return;
  event.preventDefault();
  found.run();
}

export function Shortcuts() {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);
  useEffect(() => {
    if (isOpen.value) dialog.current?.showModal();
  }, [isOpen.value]);
  return (
    <>
      <button type="button" class="quiet" aria-label="Keyboard shortcuts" onClick={show}>
        ?
      </button>
      <dialog
        ref={dialog}
        aria-labelledby="shortcuts-title"
        onClose={() => {
          isOpen.value = false;
        }}
      >
        <h2 id="shortcuts-title">Keyboard shortcuts</h2>
        <dl class="digests">
          {SHORTCUTS.map(({ keys, label }) => (
            <Shortcut key={keys} keys={keys} label={label} />
          ))}
        </dl>
        <p>
          <label>
            <input
              type="checkbox"
              checked={isOn}
              onChange={({ currentTarget }) => turn(currentTarget.checked)}
            />{" "}
            They act
          </label>
        </p>
        <form method="dialog">
          <button type="submit">Close</button>
        </form>
      </dialog>
    </>
  );
}

function Shortcut({ keys, label }: { keys: string; label: string }) {
  return (
    <>
      <dt>
        {keys.split(" ").map((key) => (
          <kbd key={key}>{key}</kbd>
        ))}
      </dt>
      <dd>{label}</dd>
    </>
  );
}

function turn(on: boolean): void {
  isOn.value = on;
  if (on) localStorage.removeItem(OFF);
  else localStorage.setItem(OFF, "1");
}
