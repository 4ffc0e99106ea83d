/** The fields of a task's input, made from its JSON Schema. What has no control of its own is written as JSON. */
import type { Signal } from "@preact/signals";
import type { JsonSchema } from "./types.ts";

export type Input = Record<string, unknown>;

/** `values` gets what is entered, and has what the fields begin with. */
export function InputFields({ schema, values }: { schema: JsonSchema; values: Signal<Input> }) {
  const fields = Object.entries(schema.properties ?? {});
  if (fields.length === 0) return <p class="faint">It takes no input.</p>;
  const initial = values.peek();
  return (
    <>
      {fields.map(([name, field]) => (
        <Field
          key={name}
          name={name}
          schema={field}
          initial={initial[name]}
          isRequired={schema.required?.includes(name) === true && field.default === undefined}
          onChange={(value) => {
            const { [name]: _old, ...others } = values.peek();
            values.value = value === undefined ? others : { ...others, [name]: value };
          }}
        />
      ))}
    </>
  );
}

interface FieldProps {
  name: string;
  schema: JsonSchema;
  initial: unknown;
  isRequired: boolean;
  /** Undefined: nothing was entered. */
  onChange: (value: unknown) => void;
}

function Field({ name, schema, ...rest }: FieldProps) {
  const id = `input-${name}`;
  const { description = "", default: byDefault } = schema;
  const isSaid = byDefault === undefined || description.includes("Default:");
  const help = isSaid ? description : `${description} Default: ${JSON.stringify(byDefault)}.`.trim();
  return (
    <div class="field">
      <label for={id}>
        {name}
        {!rest.isRequired && <span class="faint"> (optional)</span>}
      </label>
      <Control id={id} schema={schema} {...rest} />
      {help && <p class="faint">{help}</p>}
    </div>
  );
}

type ControlProps = Omit<FieldProps, "name"> & { id: string };

function Control(props: ControlProps) {
  const { id, schema, initial, isRequired, onChange } = props;
  const { type, enum: choices, example } = schema;
  const common = { id, required: isRequired };
  if (choices)
    return (
      <select
        {...common}
        onChange={({ currentTarget }) => onChange(choices[currentTarget.selectedIndex - 1])}
      >
        <option value="">–</option>
        {choices.map((choice) => (
          <option key={String(choice)} selected={choice === initial}>
            {String(choice)}
          </option>
        ))}
      </select>
    );
  if (type === "boolean")
    return (
      <input
        id={id}
        type="checkbox"
        defaultChecked={(initial ?? schema.default) === true}
        onChange={({ currentTarget }) => onChange(currentTarget.checked)}
      />
    );
  if (type === "number" || type === "integer")
    return (
      <input
        {...common}
        type="number"
        step={type === "integer" ? 1 : "any"}
        defaultValue={asText(initial)}
        onInput={({ currentTarget: { value } }) => onChange(value === "" ? undefined : Number(value))}
      />
    );
  if (type === "string")
    return (
      <input
        {...common}
        defaultValue={asText(initial)}
        placeholder={asText(example)}
        onInput={({ currentTarget: { value } }) => onChange(value === "" ? undefined : value)}
      />
    );
  return <JsonControl {...props} />;
}

const asText = (value: unknown): string =>
  value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value);

function JsonControl({ id, schema, initial, isRequired, onChange }: ControlProps) {
  return (
    <textarea
      id={id}
      rows={4}
      required={isRequired}
      defaultValue={asText(initial)}
      placeholder={schema.example === undefined ? "JSON" : asText(schema.example)}
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
