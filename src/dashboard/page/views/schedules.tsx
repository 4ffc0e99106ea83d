/** The schedules, with their next and last runs. */
import { may, sendJson } from "../lib/api.ts";
import { act } from "../lib/notices.tsx";
import { staleText, usePolled } from "../lib/poll.ts";
import { linkTo } from "../lib/route.ts";
import { Ago } from "../lib/time.tsx";
import type { Schedule } from "../lib/types.ts";

export function Schedules() {
  const list = usePolled<{ schedules: Schedule[] }>("/schedules", 5_000);
  if (!list.value) return <p role="status">{staleText(list) || "Loading…"}</p>;
  const remove = (id: string) =>
    act(async () => {
      if (!confirm("Delete this schedule?")) return;
      await sendJson("DELETE", `/schedules/${id}`);
      list.refresh();
    });
  return (
    <>
      <h1>
        <a href={linkTo("tasks")}>Tasks</a> / Schedules
      </h1>
      {list.value.schedules.length === 0 && (
        <p class="faint">
          There are none. POST /schedules makes one, and src/jobs/schedules.ts declares some.
        </p>
      )}
      <ul class="cards">
        {list.value.schedules.map(
          ({ id, cron, timeZone, type, declared, next, lastTaskId, lastTickAt, lastError }) => (
            <li key={id} class="card">
              <h2>
                {type} <code>{cron}</code>
              </h2>
              <p>
                {timeZone}
                {next[0] && (
                  <>
                    , next <Ago time={next[0]} />
                  </>
                )}
                {lastTaskId && lastTickAt && (
                  <>
                    , <a href={linkTo("tasks", lastTaskId)}>last</a> <Ago time={lastTickAt} />
                  </>
                )}
              </p>
              {lastError && <p class="error">{lastError.message}</p>}
              {!declared && may("write") && (
                <button type="button" class="quiet" onClick={remove(id)}>
                  Delete
                </button>
              )}
            </li>
          ),
        )}
      </ul>
    </>
  );
}
