/** The upstreams: each semaphore with its permits, its queue, and what is in the way; or one of them with everything. */
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { getJson } from "../lib/api.ts";
import { describeLiveness, useLive } from "../lib/live.ts";
import { addSample, type Sample, toSample } from "../lib/rates.ts";
import { linkTo, route } from "../lib/route.ts";
import type { Status } from "../lib/upstream.ts";
import { UpstreamCard } from "./upstream-card.tsx";

/** By the name of the upstream. They stay while another view is shown, with a gap for that time. */
const samples = new Map<string, Sample[]>();

interface List {
  upstreams: Status[];
  unavailable: string[];
}

export function Upstreams() {
  const known = useSignal<ReadonlyMap<string, Status>>(new Map());
  const unavailable = useSignal<readonly string[]>([]);
  const error = useSignal("Loading…");
  const { id } = route.value;
  const put = (...statuses: Status[]) => {
    const all = new Map(known.value);
    for (const status of statuses) {
      all.set(status.name, status);
      const sample = toSample(status, Date.now());
      samples.set(status.name, addSample(samples.get(status.name) ?? [], sample));
    }
    known.value = all;
  };
  /** What events have said so far: the list, which was asked for before, may be older. */
  const heard = useRef(new Set<string>());
  useLive({
    upstream: (status) => {
      heard.current.add(status.name);
      put(status);
    },
  });
  useEffect(() => {
    const read = async () => {
      const list = await getJson<List>("/upstreams");
      put(...list.upstreams.filter(({ name }) => !heard.current.has(name)));
      unavailable.value = list.unavailable;
      error.value = "";
    };
    read().catch((failure: unknown) => {
      error.value = failure instanceof Error ? failure.message : String(failure);
    });
  }, []);
  const shown = [...known.value.values()].filter(({ name }) => id === "" || name === id);
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
      <p class="faint" role="status">
        {error.value || describeLiveness()}
      </p>
      {unavailable.value.length > 0 && (
        <p class="error">Not responding: {unavailable.value.join(", ")}. The log says why.</p>
      )}
      {error.value === "" && shown.length === 0 && <p class="faint">There is no such upstream.</p>}
      <div class={id === "" ? "cards" : "one"}>
        {shown.map((status) => (
          <UpstreamCard
            key={status.name}
            status={status}
            samples={samples.get(status.name) ?? []}
            isWhole={id !== ""}
            onChanged={put}
          />
        ))}
      </div>
    </>
  );
}
