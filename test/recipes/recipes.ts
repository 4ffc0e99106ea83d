/** The recipes that the pages give, each by the heading that it stands under. */
export interface Recipe {
  name: string;
  page: string;
  heading: string;
  /** Names of the recipes that it builds on. */
  after?: string[];
}

export const RECIPES: Recipe[] = [
  { name: "a task type", page: "README.md", heading: "Adding a task type" },
  { name: "an upstream", page: "README.md", heading: "Adding an upstream" },
  { name: "a route", page: "src/README.md", heading: "A route of your own" },
  { name: "a job", page: "src/jobs/README.md", heading: "Adding a job" },
  {
    name: "a route that starts tasks",
    page: "src/jobs/README.md",
    heading: "Starting tasks from a route",
    after: ["a job"],
  },
  { name: "a schedule", page: "src/tasks/README.md", heading: "Recipe: a schedule" },
  { name: "tests", page: "test/README.md", heading: "Writing a test", after: ["a task type", "a route"] },
];
