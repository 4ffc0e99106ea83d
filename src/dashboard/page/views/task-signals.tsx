/** What a task waits for, and a form that sends it. */
import { useSignal } from "@preact/signals";
import { may, sendJson } from "../lib/api.ts";
import { act, announce } from "../lib/notices.tsx";
import { Until } from "../lib/time.tsx";
import type { WaitingFor } from "../lib/types.ts";

interface Props {
  path: string;
  waitingFor: readonly WaitingFor[];
  onDone: () => void;
}

export function TaskSignals({ path, waitingFor, onDone }: Props) {
  const signals = waitingFor.filter((one) => "signal" in one);
  if (signals.length === 0) return null;
  return (
    <section class="card" aria-label="Signals">
      <h2>Waits for</h2>
      {signals.map(({ signal, until }) => (
        <p key={signal}>
          the signal <code>{signal}</code>, for at most <Until time={until} />
        </p>
      ))}
      {may("write") && <Form path={path} names={signals.map(({ signal }) => signal)} onDone={onDone} />}
    </section>
  );
}

function Form({ path, names, onDone }: { path: string; names: readonly string[]; onDone: () => void }) {
  const name = useSignal(names[0] ?? "");
  const payload = useSignal("null");
  const submit = act(async () => {
    const value: unknown = JSON.parse(payload.value);
    await sendJson("POST", `${path}/signals/${encodeURIComponent(name.value)}`, value);
    announce("The signal is sent.");
    onDone();
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
        Signal{" "}
        <select
          value={name}
          onChange={({ currentTarget }) => {
            name.value = currentTarget.value;
          }}
        >
          {[...new Set(names)].map((one) => (
            <option key={one}>{one}</option>
          ))}
        </select>
      </label>
      <label>
        Payload, as JSON{" "}
        <input
          required
          value={payload}
          onInput={({ currentTarget }) => {
            payload.value = currentTarget.value;
          }}
        />
      </label>
      <button type="submit">Send</button>
    </form>
  );
}
