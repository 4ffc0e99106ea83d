/** The tags of a task. Each leads to the list of the tasks that have it, within the filters of the list; or takes it out of them. */
import { linkTo, route } from "../lib/route.ts";
import { tagsIn } from "../lib/task-page.ts";

export function Tags({ tags = [] }: { tags?: readonly string[] | undefined }) {
  const { query } = route.value;
  const chosen = tagsIn(query);
  return tags.map((tag) => {
    const isChosen = chosen.includes(tag);
    const next = isChosen ? chosen.filter((one) => one !== tag) : [...chosen, tag];
    const filters = { ...Object.fromEntries(query), tag: next.join(","), cursor: undefined };
    return (
      <a
        key={tag}
        class="badge"
        aria-current={isChosen}
        title={isChosen ? "Also without this tag" : "Only with this tag"}
        href={linkTo("tasks", "", filters)}
      >
        {tag}
      </a>
    );
  });
}
