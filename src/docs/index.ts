export { describeApi, VERSION } from "./document.ts";
export { createDocs } from "./routes.ts";
