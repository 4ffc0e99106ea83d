/** Links to a file that need no token: each until a time of one's choice, at most seven days from now. */
import { useSignal } from "@preact/signals";
import { sendJson } from "../lib/api.ts";
import { Copy } from "../lib/copy.tsx";
import { act, announce } from "../lib/notices.tsx";
import { Ago } from "../lib/time.tsx";

const HOUR_MS = 3_600_000;
const MAX_MS = 7 * 24 * HOUR_MS;

export function FileLinks({ path }: { path: string }) {
  const until = useSignal(toLocal(Date.now() + HOUR_MS));
  const link = useSignal<{ url: string; expiresAt: string } | undefined>(undefined);
  const submit = act(async () => {
    // The latest time that can be chosen is a minute's beginning, so it is never too late.
    const seconds = Math.ceil((Date.parse(until.value) - Date.now()) / 1_000);
    link.value = await sendJson("POST", `${path}/links`, { expires_in: seconds });
    announce("The link is made.");
  });
  return (
    <form
      class="filters"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <label>
        Link until{" "}
        <input
          type="datetime-local"
          required
          min={toLocal(Date.now() + 60_000)}
          max={toLocal(Date.now() + MAX_MS)}
          value={until}
          onInput={({ currentTarget }) => {
            until.value = currentTarget.value;
          }}
        />
      </label>
      <button type="submit" class="quiet">
        Make a link
      </button>
      {link.value && (
        <span>
          <input readOnly value={link.value.url} aria-label="Link" />{" "}
          <Copy text={link.value.url} what="Link" /> It ends <Ago time={link.value.expiresAt} />.
        </span>
      )}
    </form>
  );
}

/** A time as `datetime-local` has it: in the viewer's zone, to the minute. */
function toLocal(ms: number): string {
  const date = new Date(ms);
  return new Date(ms - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
