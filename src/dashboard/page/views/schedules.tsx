/** The schedules: when each runs, in words, with its next and last runs; and a form for a new one. */
import { useSignal } from "@preact/signals";
import { may } from "../lib/api.ts";
import { Hold } from "../lib/hold.tsx";
import { useLiveList } from "../lib/live-list.ts";
import { linkTo } from "../lib/route.ts";
import { isSelecting } from "../lib/selection.ts";
import type { Schedule } from "../lib/types.ts";
import { OneSchedule } from "./one-schedule.tsx";
import { ScheduleForm } from "./schedule-form.tsx";

/** What is being edited, instead of the id of a schedule. One form is open at a time. */
const NEW = "new schedule";

export function Schedules() {
  const isPaused = useSignal(false);
  const isHeld = isPaused.value || isSelecting.value;
  const list = useLiveList<{ schedules: Schedule[]; next: string | null }>(
    "/schedules?limit=500",
    isHeld,
    (apply) => ({
      schedules: ({ schedules, removed }) => apply(schedules.length + removed.length, () => "read"),
    }),
  );
  const edited = useSignal("");
  if (!list.value) return <p role="status">{list.error ?? "Loading…"}</p>;
  const { schedules, next } = list.value;
  const edit = (what: string) => {
    edited.value = what;
  };
  const done = () => {
    edit("");
    list.refresh();
  };
  return (
    <>
      <h1>
        <a href={linkTo("tasks")}>Tasks</a> / Schedules
      </h1>
      <Hold list={list} isPaused={isPaused} />
      {may("write") && (
        <details
          class="card"
          open={edited.value === NEW}
          onToggle={({ currentTarget }) => {
            if (currentTarget.open) edit(NEW);
            else if (edited.value === NEW) edit("");
          }}
        >
          <summary>New schedule</summary>
          {edited.value === NEW && <ScheduleForm onDone={done} />}
        </details>
      )}
      <p class="faint">
        {schedules.length === 0 && "There are none yet. "}
        {next !== null && "The first 500 are shown. "}Those of src/jobs/schedules.ts are changed there.
      </p>
      <ul class="cards">
        {schedules.map((schedule) => (
          <li key={schedule.id} class="card">
            {edited.value === schedule.id ? (
              <ScheduleForm schedule={schedule} onDone={done}>
                <button type="button" class="quiet" onClick={() => edit("")}>
                  Cancel
                </button>
              </ScheduleForm>
            ) : (
              <OneSchedule schedule={schedule} onEdit={() => edit(schedule.id)} onChanged={list.refresh} />
            )}
          </li>
        ))}
      </ul>
    </>
  );
}
