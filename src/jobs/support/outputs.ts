import type { TaskContext } from "../../tasks/index.ts";

/**
 * The id of a file that a task makes: the same in each of its runs, so that a repeated run replaces its own file and leaves
 * none behind. `suffix` tells the files of a task apart, and ends in what the name should: `report.pdf`.
 */
export const outputId = ({ taskId }: Pick<TaskContext, "taskId">, suffix: string): string =>
  `${taskId}.${suffix}`;
