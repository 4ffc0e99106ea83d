/** The tree around a task: the one that started it, and those that it has started, as its children. */
import { linkTo } from "../lib/route.ts";
import { type Child, STATUSES } from "../lib/types.ts";

export function TaskTree({ parent, children }: { parent: string | undefined; children: readonly Child[] }) {
  if (parent === undefined && children.length === 0) return null;
  return (
    <section class="card" aria-label="Tree">
      {parent !== undefined && (
        <p>
          It is a child of <a href={linkTo("tasks", parent)}>{parent}</a>.
        </p>
      )}
      {children.length > 0 && (
        <>
          <h2>{describeChildren(children)}</h2>
          <ul class="children" tabIndex={0} aria-label="Children">
            {children.map(({ id, type, status }) => (
              <li key={id}>
                <span class={`state ${status}`}>{status}</span> {type} <a href={linkTo("tasks", id)}>{id}</a>
              </li>
            ))}
          </ul>
        </>
      )}
    </section>
  );
}

/** How many there are, and of which status. */
function describeChildren(children: readonly Child[]): string {
  const counts = STATUSES.map(
    (status) => [children.filter((one) => one.status === status).length, status] as const,
  );
  const told = counts.filter(([count]) => count > 0).map(([count, status]) => `${count} ${status}`);
  return `Children: ${told.join(", ")}`;
}
