export { createDocs, INFO } from "./routes.ts";
