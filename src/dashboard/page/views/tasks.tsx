/** Tasks: the list, with its filters in the URL; one task, as a timeline of its events; a form for each type. */
import { may } from "../lib/api.ts";
import { route } from "../lib/route.ts";
import { NewTask } from "./new-task.tsx";
import { OneTask } from "./one-task.tsx";
import { Schedules } from "./schedules.tsx";
import { TaskList } from "./task-list.tsx";

export function Tasks() {
  const { id } = route.value;
  if (id === "new" && may("write")) return <NewTask />;
  if (id === "schedules") return <Schedules />;
  return id === "" ? <TaskList /> : <OneTask id={id} />;
}
