export { createMetrics } from "./routes.ts";
