/** How up to date a list is, and a button that lets it stand still. Selected text does that too. */
import type { Signal } from "@preact/signals";
import { describeLiveness } from "./live.ts";
import type { LiveList } from "./live-list.ts";
import { isSelecting } from "./selection.ts";

interface Props {
  list: Pick<LiveList<unknown>, "error" | "missed">;
  isPaused: Signal<boolean>;
}

export function Hold({ list: { error, missed }, isPaused }: Props) {
  const isHeld = isPaused.value || isSelecting.value;
  return (
    <>
      <p class="controls">
        <button
          type="button"
          class="quiet"
          aria-pressed={isPaused.value}
          onClick={() => {
            isPaused.value = !isPaused.value;
          }}
        >
          {isPaused.value ? "Go on" : "Stand still"}
        </button>
        <span role="status">{isHeld ? describeHeld(missed) : describeLiveness()}</span>
      </p>
      {error && (
        <p class="error" role="alert">
          Not up to date: {error}
        </p>
      )}
    </>
  );
}

const describeHeld = (missed: number): string =>
  missed === 0 ? "Stands still" : "Stands still: there is something new";
