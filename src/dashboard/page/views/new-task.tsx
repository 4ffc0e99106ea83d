/** A form for a task of any type, made from the JSON Schema of its input. */
import { useSignal } from "@preact/signals";
import { sendJson } from "../lib/api.ts";
import { type Input, InputFields } from "../lib/input-fields.tsx";
import { act } from "../lib/notices.tsx";
import { linkTo, route, setQuery } from "../lib/route.ts";
import { useTaskTypes } from "../lib/task-types.ts";
import type { TaskType } from "../lib/types.ts";

export function NewTask() {
  const { types } = useTaskTypes();
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

/** The URL may name the file that a type is to work on. */
function InputForm({ type: { name, input, unavailableReason } }: { type: TaskType }) {
  const fileId = route.value.query.get("fileId");
  const takesFile = fileId !== null && input.properties?.fileId !== undefined;
  const values = useSignal<Input>(takesFile ? { fileId } : {});
  const submit = act(async () => {
    const created = await sendJson<{ id: string }>("POST", "/tasks", { type: name, input: values.value });
    location.hash = linkTo("tasks", created?.id);
  });
  return (
    <form
      class="card form"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      {unavailableReason && <p class="error">It cannot run here: {unavailableReason}</p>}
      <InputFields schema={input} values={values} />
      <button type="submit">Start</button>
    </form>
  );
}
