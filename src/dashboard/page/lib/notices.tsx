/** What went wrong, and what was done: one at a time in a live region, until it is closed. */
import { signal } from "@preact/signals";

const notice = signal<{ text: string; isError: boolean } | undefined>(undefined);

/** Shows an error, in its own words. For `catch`. */
export function notify(error: unknown): void {
  notice.value = { text: error instanceof Error ? error.message : String(error), isError: true };
}

/** A handler that begins some work, and shows the error if that fails. */
export const act = (work: () => Promise<unknown>) => () => {
  work().catch(notify);
};

/** Says that something was done. */
export function announce(text: string): void {
  notice.value = { text, isError: false };
}

export function Notices() {
  const shown = notice.value;
  return (
    <div class="notices" role={shown?.isError ? "alert" : "status"}>
      {shown && (
        <p class={shown.isError ? "notice error" : "notice"}>
          {shown.text}{" "}
          <button
            type="button"
            aria-label="Close"
            onClick={() => {
              notice.value = undefined;
            }}
          >
            ×
          </button>
        </p>
      )}
    </div>
  );
}
