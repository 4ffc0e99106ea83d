/** The built-in task types, and what starts them: where tasks, files and outbound meet. */
export { FileTasks } from "./file-tasks.ts";
export { runTasks as jobRoutes } from "./run-tasks.ts";
