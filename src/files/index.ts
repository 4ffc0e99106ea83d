/** Bytes into and out of R2. */

import { download } from "./download/download.ts";
import { createUploadRoutes } from "./resumable/routes.ts";

/** A finished upload is read as its file. */
export const uploadRoutes = createUploadRoutes(async (c, id, isInline) =>
  download(c.env, c.req.raw, id, isInline, c.get("principal").bounds),
);

export { heldRoutes } from "./download/held-routes.ts";
export { fileRoutes, linkRoutes } from "./download/routes.ts";
export { grantedRoutes, grantRoutes } from "./grants/routes.ts";
export { type Draft, discardDraft, openDraft } from "./resumable/draft.ts";
export { uploadOptionsRoutes } from "./resumable/routes.ts";
export { UploadSession } from "./resumable/session.ts";
export { readByteQuotaUse } from "./store/byte-use.ts";
export { FileCatalogue } from "./store/catalogue.ts";
export { type CheckedFile, decisionSchema, heldFileSchema } from "./store/checks.ts";
export { countFiles } from "./store/count-files.ts";
export { type FileInfo, findFile } from "./store/file-info.ts";
export { decideHeldFile, findHeldFile, openHeldFile } from "./store/held.ts";
export { fileIdSchema } from "./store/names.ts";
export { CATALOGUE_COUNT, findOldFiles, type OldFile, removeOldFiles } from "./store/old-files.ts";
export { openFile } from "./store/open-file.ts";
export { readFileFigures } from "./store/read-figures.ts";
export { removeFile } from "./store/remove-file.ts";
export { type FileSpec, saveFile } from "./store/save-file.ts";
export { readFileSettings } from "./store/settings.ts";
export { watchFiles } from "./store/watch-files.ts";
export { storeRoutes } from "./upload/routes.ts";
