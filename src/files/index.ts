/** Bytes into and out of R2. */

export { fileRoutes, linkRoutes } from "./download/routes.ts";
export { uploadOptionsRoutes, uploadRoutes } from "./resumable/routes.ts";
export { UploadSession } from "./resumable/session.ts";
export { FileCatalogue } from "./store/catalogue.ts";
export { openFile } from "./store/open-file.ts";
export { readFileSettings } from "./store/settings.ts";
export { storeRoutes } from "./upload/routes.ts";
