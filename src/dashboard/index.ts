export { favicon } from "./favicon.ts";
export { createDashboard } from "./routes.ts";
