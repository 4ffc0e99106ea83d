/** The task types that are paused, and the one that the list shows: how fast its tasks may begin, and a way to pause it. */
import { may, sendJson } from "../lib/api.ts";
import { act, announce } from "../lib/notices.tsx";
import { route } from "../lib/route.ts";
import type { TaskType } from "../lib/types.ts";

interface Props {
  types: readonly TaskType[];
  onChanged: () => void;
}

export function TypePauses({ types, onChanged }: Props) {
  const chosen = route.value.query.get("type");
  const shown = types.filter(({ name, paused }) => paused === true || name === chosen);
  return (
    <>
      {shown.map((type) => (
        <TypePause key={type.name} type={type} onChanged={onChanged} />
      ))}
    </>
  );
}

function TypePause({ type, onChanged }: { type: TaskType; onChanged: () => void }) {
  const { name, paused } = type;
  const change = act(async () => {
    await sendJson("PATCH", `/task-types/${name}`, { paused: !paused });
    announce(`${name}: ${paused ? "resumed" : "paused"}.`);
    onChanged();
  });
  return (
    <p class="controls">
      {may("admin") && paused !== null && (
        <button type="button" class={paused ? "" : "quiet"} onClick={change}>
          {paused ? "Resume" : "Pause"} {name}
        </button>
      )}
      {paused && <span class="badge warn">paused</span>}
      <span>
        {paused ? `${name} is paused: its tasks are accepted, and stay queued.` : limitsInWords(type)}
      </span>
    </p>
  );
}

function limitsInWords({
  name,
  concurrency,
  perKey,
  rate,
  paused,
}: Pick<TaskType, "name" | "concurrency" | "perKey" | "rate" | "paused">): string {
  if (paused === null) return `Whether ${name} is paused is not known at the moment.`;
  const limits = [
    ...(concurrency === null ? [] : [`at most ${concurrency} at once${perKey ? " for each key" : ""}`]),
    ...(rate === null ? [] : [`at most ${rate.per_second} begun a second`]),
  ];
  return limits.length === 0 ? `${name} has no limit.` : `${name}: ${limits.join(", ")}.`;
}
