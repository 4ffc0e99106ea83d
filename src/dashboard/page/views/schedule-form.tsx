/** A form for a schedule, new or not: when, in words as one types, and a task of any type, made from the JSON Schema of its input. */

import { type Signal, useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { sendJson } from "../lib/api.ts";
import { cronInWords } from "../lib/cron-words.ts";
import { type Input, InputFields } from "../lib/input-fields.tsx";
import { act, announce } from "../lib/notices.tsx";
import { useTaskTypes } from "../lib/task-types.ts";
import type { Schedule } from "../lib/types.ts";

const ZONES = ["UTC", ...Intl.supportedValuesOf("timeZone")];

interface FormProps {
  /** The one to change; undefined for a new one. */
  schedule?: Schedule;
  onDone: () => void;
  children?: ComponentChildren;
}

export function ScheduleForm({ schedule, onDone, children }: FormProps) {
  const { types = [] } = useTaskTypes();
  const cron = useSignal(schedule?.cron ?? "");
  const zone = useSignal(schedule?.timeZone ?? "UTC");
  const typeName = useSignal(schedule?.type ?? "");
  const overlap = useSignal(schedule?.overlap ?? "skip");
  const missed = useSignal(schedule?.missed ?? "run_once");
  const values = useSignal<Input>(isInput(schedule?.input) ? schedule.input : {});
  const type = types.find(({ name }) => name === typeName.value);
  const submit = act(async () => {
    const body = {
      cron: cron.value,
      time_zone: zone.value,
      type: typeName.value,
      input: values.value,
      overlap: overlap.value,
      missed: missed.value,
    };
    if (schedule) await sendJson("PATCH", `/schedules/${schedule.id}`, body);
    else await sendJson("POST", "/schedules", body);
    announce(
      schedule
        ? `The schedule of ${body.type} is changed.`
        : `The schedule runs ${body.type} from its next tick on.`,
    );
    onDone();
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
        {[...new Set([...types.map(({ name }) => name), ...(schedule ? [schedule.type] : [])])].map(
          (name) => (
            <option key={name} selected={name === typeName.value}>
              {name}
            </option>
          ),
        )}
      </Choice>
      {type && <InputFields key={type.name} schema={type.input} values={values} />}
      <p class="controls">
        <button type="submit">{schedule ? "Save" : "Create"}</button>
        {children}
      </p>
    </form>
  );
}

const isInput = (input: unknown): input is Input =>
  typeof input === "object" && input !== null && !Array.isArray(input);

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
        {words ?? "Minute, hour, day of the month, month, day of the week; or @daily and the like."}
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
