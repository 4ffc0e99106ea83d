/** While one selects text, what is selected must not change or move away: then updates wait. */
import { signal } from "@preact/signals";
import { useRef } from "preact/hooks";

/** Whether some text of the page is selected. */
export const isSelecting = signal(false);

document.addEventListener("selectionchange", () => {
  const selection = getSelection();
  const main = document.querySelector("main");
  isSelecting.value =
    selection !== null && !selection.isCollapsed && main?.contains(selection.anchorNode) === true;
});

/** The value; while one selects, the one from before. */
export function useHeld<T>(value: T): T {
  const held = useRef(value);
  if (!isSelecting.value) held.current = value;
  return held.current;
}
