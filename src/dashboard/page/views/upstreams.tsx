/** The upstreams: each semaphore with its permits, its queue, and what is in the way; or one of them with everything. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { staleText, usePolled } from "../lib/poll.ts";
import { addSample, type Sample, toSample } from "../lib/rates.ts";
import { linkTo, route } from "../lib/route.ts";
import type { Status } from "../lib/upstream.ts";
import { UpstreamCard } from "./upstream-card.tsx";

const REFRESH_MS = 1_000;

/** By the name of the upstream. They stay while another view is shown, with a gap for that time. */
const samples = new Map<string, Sample[]>();

interface List {
  upstreams: Status[];
  unavailable: string[];
}

export function Upstreams() {
  const list = usePolled<List>("/upstreams", REFRESH_MS);
  // What a change has responded with, until the next list: an operator sees at once what was done.
  const changed = useSignal<{ list: List | undefined; status: Status } | undefined>(undefined);
  const { id } = route.value;
  useEffect(() => {
    for (const status of list.value?.upstreams ?? [])
      samples.set(status.name, addSample(samples.get(status.name) ?? [], toSample(status, Date.now())));
  }, [list.value]);
  if (!list.value) return <p role="status">{staleText(list) || "Loading…"}</p>;
  const { upstreams, unavailable } = list.value;
  const shown = upstreams
    .filter(({ name }) => id === "" || name === id)
    .map((status) => {
      const newer = changed.value?.list === list.value ? changed.value?.status : undefined;
      return newer?.name === status.name ? newer : status;
    });
  return (
    <>
      <h1>
        {id === "" ? (
          "Upstreams"
        ) : (
          <>
            <a href={linkTo("upstreams")}>Upstreams</a> / {id}
          </>
        )}
      </h1>
      <p class="error" role="status">
        {staleText(list)}
      </p>
      {unavailable.length > 0 && (
        <p class="error">Not responding: {unavailable.join(", ")}. The log says why.</p>
      )}
      {shown.length === 0 && <p class="faint">There is no such upstream.</p>}
      <div class={id === "" ? "cards" : "one"}>
        {shown.map((status) => (
          <UpstreamCard
            key={status.name}
            status={status}
            samples={samples.get(status.name) ?? []}
            isWhole={id !== ""}
            onChanged={(newer) => {
              changed.value = { list: list.value, status: newer };
              list.refresh();
            }}
          />
        ))}
      </div>
    </>
  );
}
