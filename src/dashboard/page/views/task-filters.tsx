/** The filters of the list of tasks, which are in the URL. */
import { route, setQuery } from "../lib/route.ts";
import { useTaskTypes } from "../lib/task-types.ts";
import { STATUSES } from "../lib/types.ts";
import { TypePauses } from "./type-pauses.tsx";

const set = (name: string) => (event: { currentTarget: HTMLSelectElement | HTMLInputElement }) =>
  setQuery({ [name]: event.currentTarget.value, cursor: undefined });

export function TaskFilters() {
  const { types = [], refresh } = useTaskTypes();
  const { query } = route.value;
  const names = types.map(({ name }) => name);
  return (
    <>
      <form class="filters" onSubmit={(event) => event.preventDefault()}>
        <Choice label="Status" name="status" values={STATUSES} />
        <Choice label="Type" name="type" values={names} />
        <Word label="Tag" name="tag" placeholder="a,b" />
        {query.has("schedule") && <Word label="Schedule" name="schedule" placeholder="id" />}
        <Word label="Error" name="error" placeholder="TypeError" />
        <Time label="From" name="created_after" />
        <Time label="Until" name="created_before" />
        <label>
          Text{" "}
          <input
            type="search"
            value={query.get("text") ?? ""}
            placeholder="id, error, progress"
            onInput={set("text")}
          />
        </label>
      </form>
      <TypePauses types={types} onChanged={refresh} />
    </>
  );
}

function Choice({ label, name, values }: { label: string; name: string; values: readonly string[] }) {
  const value = route.value.query.get(name) ?? "";
  // What the URL asks for is shown even if it is none of them, e.g. two statuses.
  const all = value === "" || values.includes(value) ? values : [...values, value];
  return (
    <label>
      {label}{" "}
      <select value={value} onChange={set(name)}>
        <option value="">any</option>
        {all.map((one) => (
          <option key={one}>{one}</option>
        ))}
      </select>
    </label>
  );
}

/** Takes effect when it is whole: each change reads the list anew. */
function Word({ label, name, placeholder }: { label: string; name: string; placeholder: string }) {
  return (
    <label>
      {label}{" "}
      <input
        type="text"
        size={10}
        value={route.value.query.get(name) ?? ""}
        placeholder={placeholder}
        onChange={set(name)}
      />
    </label>
  );
}

/** In the time zone of whoever looks. */
function Time({ label, name }: { label: string; name: string }) {
  return (
    <label>
      {label} <input type="datetime-local" value={route.value.query.get(name) ?? ""} onChange={set(name)} />
    </label>
  );
}
