export { describeApi } from "./document.ts";
export { createDocs } from "./routes.ts";
