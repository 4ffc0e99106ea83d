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
  { name: "tests", page: "test/README.md", heading: "Writing a test", after: ["a task type", "a route"] },
  { name: "a task type with steps", page: "src/tasks/README.md", heading: "Recipe: a task type" },
  { name: "a schedule", page: "src/tasks/README.md", heading: "Recipe: a schedule" },
  { name: "a task type for files", page: "src/jobs/README.md", heading: "Adding a job" },
  {
    name: "a route that starts tasks",
    page: "src/jobs/README.md",
    heading: "Starting tasks from a route",
    after: ["a task type for files"],
  },
  {
    name: "a range of a file",
    page: "src/files/README.md",
    heading: "Recipe: read a range of a stored file",
    after: ["a task type for files"],
  },
  {
    name: "an upstream with a secret",
    page: "src/outbound/README.md",
    heading: "An upstream with a secret header",
  },
  {
    name: "a call from a task",
    page: "src/outbound/README.md",
    heading: "A call from a task or a route",
    after: ["an upstream with a secret"],
  },
  { name: "CORS", page: "src/kernel/README.md", heading: "Access" },
];
