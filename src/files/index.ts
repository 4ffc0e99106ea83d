/** Bytes into and out of R2. */
export { FileCatalogue } from "./catalogue.ts";
export { openFile } from "./open.ts";
export { fileRoutes, linkRoutes } from "./routes.ts";
export { UploadSession } from "./session.ts";
export { readFileSettings } from "./settings.ts";
export { storeRoutes } from "./store-routes.ts";
export { uploadPreface, uploadRoutes } from "./upload-routes.ts";
