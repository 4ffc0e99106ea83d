/** A form for a task of any type, made from the JSON Schema of its input. */
import { useSignal } from "@preact/signals";
import { sendJson } from "../lib/api.ts";
import { act } from "../lib/notices.tsx";
import { usePolled } from "../lib/poll.ts";
import { linkTo, route, setQuery } from "../lib/route.ts";
import type { JsonSchema, TaskType } from "../lib/types.ts";

export function NewTask() {
  const types = usePolled<{ taskTypes: TaskType[] }>("/task-types", 60_000).value?.taskTypes;
  const { query } = route.value;
  if (!types) return <p role="status">Loading…</p>;
  const type = types.find(({ name }) => name === query.get("type"));
  return (
    <>
      <h1>
        <a href={linkTo("tasks")}>Tasks</a> / New
      </h1>
      <label>
        Type{" "}
        <select
          value={type?.name ?? ""}
          onChange={({ currentTarget }) => setQuery({ type: currentTarget.value })}
        >
          <option value="">Choose…</option>
          {types.map(({ name }) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </label>
      {type && <InputForm key={type.name} type={type} />}
    </>
  );
}

function InputForm({ type: { name, input } }: { type: TaskType }) {
  const values = useSignal<Record<string, unknown>>({});
  const submit = act(async () => {
    const created = await sendJson<{ id: string }>("POST", "/tasks", { type: name, input: values.value });
    location.hash = linkTo("tasks", created?.id);
  });
  const fields = Object.entries(input.properties ?? {});
  return (
    <form
      class="card form"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      {fields.map(([field, schema]) => (
        <Field
          key={field}
          name={field}
          schema={schema}
          isRequired={input.required?.includes(field) === true && schema.default === undefined}
          onChange={(value) => {
            const { [field]: _old, ...others } = values.value;
            values.value = value === undefined ? others : { ...others, [field]: value };
          }}
        />
      ))}
      {fields.length === 0 && <p class="faint">It takes no input.</p>}
      <button type="submit">Start</button>
    </form>
  );
}

interface FieldProps {
  name: string;
  schema: JsonSchema;
  isRequired: boolean;
  /** Undefined: nothing was entered. */
  onChange: (value: unknown) => void;
}

function Field({ name, schema, isRequired, onChange }: FieldProps) {
  const id = `input-${name}`;
  return (
    <div class="field">
      <label for={id}>
        {name}
        {!isRequired && <span class="faint"> (optional)</span>}
      </label>
      <Control id={id} schema={schema} isRequired={isRequired} onChange={onChange} />
      {schema.description && <p class="faint">{schema.description}</p>}
    </div>
  );
}

function Control({ id, schema, isRequired, onChange }: Omit<FieldProps, "name"> & { id: string }) {
  const { type, enum: choices } = schema;
  if (choices)
    return (
      <select
        id={id}
        required={isRequired}
        onChange={({ currentTarget }) => onChange(choices[currentTarget.selectedIndex - 1])}
      >
        <option value="">–</option>
        {choices.map((choice) => (
          <option key={String(choice)}>{String(choice)}</option>
        ))}
      </select>
    );
  if (type === "boolean")
    return (
      <input id={id} type="checkbox" onChange={({ currentTarget }) => onChange(currentTarget.checked)} />
    );
  if (type === "number" || type === "integer")
    return (
      <input
        id={id}
        type="number"
        step={type === "integer" ? 1 : "any"}
        required={isRequired}
        onInput={({ currentTarget: { value } }) => onChange(value === "" ? undefined : Number(value))}
      />
    );
  if (type === "string")
    return (
      <input
        id={id}
        required={isRequired}
        onInput={({ currentTarget: { value } }) => onChange(value === "" ? undefined : value)}
      />
    );
  return <JsonControl id={id} isRequired={isRequired} onChange={onChange} />;
}

/** Whatever has no control of its own is written as JSON. */
function JsonControl({ id, isRequired, onChange }: Omit<FieldProps, "name" | "schema"> & { id: string }) {
  return (
    <textarea
      id={id}
      rows={4}
      required={isRequired}
      placeholder="JSON"
      onInput={({ currentTarget }) => {
        currentTarget.setCustomValidity("");
        try {
          onChange(currentTarget.value === "" ? undefined : JSON.parse(currentTarget.value));
        } catch {
          currentTarget.setCustomValidity("This is not JSON.");
        }
      }}
    />
  );
}
