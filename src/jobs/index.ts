/** The built-in task types, and the routes that start them: where tasks, files and outbound meet. */
export { runTasks as jobRoutes } from "./run-tasks.ts";
