/** A button that copies a text. */
import { act, announce } from "./notices.tsx";

export function Copy({ text, what }: { text: string; what: string }) {
  return (
    <button
      type="button"
      class="quiet"
      aria-label={`Copy: ${what}`}
      onClick={act(async () => {
        await navigator.clipboard.writeText(text);
        announce(`${what} copied.`);
      })}
    >
      Copy
    </button>
  );
}
