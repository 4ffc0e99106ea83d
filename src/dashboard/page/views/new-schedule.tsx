/** A form for a schedule: when, in words as one types, and a task of any type, made from the JSON Schema of its input. */

import { type Signal, useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { sendJson } from "../lib/api.ts";
import { cronInWords } from "../lib/cron-words.ts";
import { type Input, InputFields } from "../lib/input-fields.tsx";
import { act, announce } from "../lib/notices.tsx";
import { usePolled } from "../lib/poll.ts";
import type { Schedule, TaskType } from "../lib/types.ts";

const ZONES = ["UTC", ...Intl.supportedValuesOf("timeZone")];

export function NewSchedule({ onCreated }: { onCreated: () => void }) {
  const types = usePolled<{ taskTypes: TaskType[] }>("/task-types", 60_000).value?.taskTypes ?? [];
  const cron = useSignal("");
  const zone = useSignal("UTC");
  const typeName = useSignal("");
  const overlap = useSignal("skip");
  const missed = useSignal("run_once");
  const values = useSignal<Input>({});
  const type = types.find(({ name }) => name === typeName.value);
  const submit = act(async () => {
    const created = await sendJson<Schedule>("POST", "/schedules", {
      cron: cron.value,
      time_zone: zone.value,
      type: typeName.value,
      input: values.value,
      overlap: overlap.value,
      missed: missed.value,
    });
    announce(`The schedule runs ${created?.type ?? ""} from its next tick on.`);
    onCreated();
  });
  return (
    <form
      class="form"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <CronField cron={cron} />
      <div class="field">
        <label for="schedule-zone">Time zone</label>
        <input id="schedule-zone" list="zones" required value={zone} onInput={take(zone)} />
        <datalist id="zones">
          {ZONES.map((name) => (
            <option key={name} value={name} />
          ))}
        </datalist>
      </div>
      <Choice id="schedule-overlap" label="While the previous run goes on" value={overlap}>
        <option value="skip">a tick is skipped</option>
        <option value="queue">a tick waits</option>
      </Choice>
      <Choice id="schedule-missed" label="Of ticks that were missed" value={missed}>
        <option value="run_once">the last one runs</option>
        <option value="skip">none runs</option>
      </Choice>
      <Choice
        id="schedule-type"
        label="Task type"
        value={typeName}
        onChange={() => {
          values.value = {};
        }}
      >
        <option value="">Choose…</option>
        {types.map(({ name }) => (
          <option key={name}>{name}</option>
        ))}
      </Choice>
      {type && <InputFields key={type.name} schema={type.input} values={values} />}
      <button type="submit">Create</button>
    </form>
  );
}

function CronField({ cron }: { cron: Signal<string> }) {
  const words = cronInWords(cron.value);
  return (
    <div class="field">
      <label for="schedule-cron">When</label>
      <input
        id="schedule-cron"
        required
        placeholder="30 2 * * MON-FRI"
        aria-describedby="schedule-cron-words"
        value={cron}
        onInput={take(cron)}
      />
      <p id="schedule-cron-words" class="faint">
        {words ?? "Minute, hour, day of the month, month, day of the week."}
      </p>
    </div>
  );
}

interface ChoiceProps {
  id: string;
  label: string;
  value: Signal<string>;
  onChange?: () => void;
  children: ComponentChildren;
}

function Choice({ id, label, value, onChange, children }: ChoiceProps) {
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <select
        id={id}
        required
        value={value}
        onChange={({ currentTarget }) => {
          value.value = currentTarget.value;
          onChange?.();
        }}
      >
        {children}
      </select>
    </div>
  );
}

const take = (value: Signal<string>) => (event: { currentTarget: HTMLInputElement }) => {
  value.value = event.currentTarget.value;
};
