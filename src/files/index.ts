/** Bytes into and out of R2. */
export { fileRoutes } from "./routes.ts";
