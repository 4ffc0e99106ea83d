/** The routes of `/uploads` as the OpenAPI document shows them: parameters, bodies, responses and examples. */

import { createRoute, z } from "@hono/zod-openapi";
import type { MiddlewareHandler } from "hono";
import { requireScopeWithin } from "../../kernel/access.ts";
import { needsWithin, problems } from "../../kernel/app.ts";
import type { AppEnv } from "../../kernel/app-env.ts";
import { BYTES, uploadQuerySchema } from "../store/schema.ts";
import { PARTIAL_UPLOAD } from "./ietf-fields.ts";
import { TUS_MEDIA_TYPE } from "./tus.ts";

const tags = ["Resumable uploads"];
const uploadParams = z.object({ id: z.string().meta({ description: "From the URL in `Location`." }) });

const PROTOCOLS =
  "With `Tus-Resumable: 1.0.0` this speaks [tus](https://tus.io/protocols/resumable-upload); otherwise the IETF " +
  "draft [Resumable Uploads for HTTP](https://datatracker.ietf.org/doc/draft-ietf-httpbis-resumable-upload/), in the " +
  "version that `Upload-Draft-Interop-Version` names (3 to 10).";

const CHUNK_PROBLEMS = {
  400: "A header is malformed or missing, a digest does not match or cannot be verified, or the body broke off.",
  404: "There is no such upload.",
  409: "The upload is at another offset, or another request has taken it over.",
  412: "The request speaks another version of tus, or none, and the upload was created in tus.",
  413: "The bytes exceed MAX_FILE_BYTES, MAX_REQUEST_BYTES, or the length of the upload.",
  415: "The bytes have another media type than the protocol requires, which `detail` names, or a Content-Encoding. Or UPLOAD_RULES does not take the type of the file, or its bytes are not of it.",
  460: "The bytes do not match Upload-Checksum (tus).",
  507: "A quota of stored bytes has no room for it. With Retry-After.",
};

/** A header of a protocol, for the document alone: the protocols read their headers themselves. */
const header = (name: string, description: string, example?: string) => ({
  name,
  in: "header" as const,
  description,
  schema: { type: "string" as const },
  ...(example === undefined ? {} : { example }),
});
const VERSION_HEADERS = [
  header("Tus-Resumable", "`1.0.0`: this is tus."),
  header("Upload-Draft-Interop-Version", "Version of the IETF draft, 3 to 10. Default: 10."),
];
const CREATION_HEADERS = [
  ...VERSION_HEADERS,
  header("Upload-Complete", "IETF draft: `?1` if the body has all bytes, `?0` if more will follow.", "?0"),
  header("Upload-Length", "The length of the whole upload in bytes, if it is known."),
  header("Upload-Metadata", "tus: `filename` and `filetype`, each with a value in base64."),
  header("Content-Disposition", 'IETF draft: the name of the file, as in `attachment; filename="a.txt"`.'),
];
const APPEND_HEADERS = [
  ...VERSION_HEADERS,
  header("Upload-Offset", "How many bytes the upload has: where these are appended.", "7"),
  header("Upload-Complete", "IETF draft: `?1` if these are the last bytes, else `?0`.", "?1"),
];
/** The examples of creation and append together upload `Hello, Sluice.` in two requests. */
const bodyWith = (mediaType: string, example: string) => ({
  description:
    `The bytes. tus requires the type \`${TUS_MEDIA_TYPE}\`; the IETF draft, from version 6 on, ` +
    `requires \`${PARTIAL_UPLOAD}\` for an append.`,
  content: { [mediaType]: { schema: { type: "string" as const }, example }, ...BYTES },
});

export const uploadsOptionsRoute = createRoute({
  method: "options",
  path: "/uploads",
  operationId: "getUploadCapabilities",
  tags,
  summary: "What this server supports of tus and of the IETF draft",
  security: [],
  responses: { 200: { description: "In the headers `Tus-…`, `Upload-Limit` and `Accept-Patch`." } },
});

export const uploadOptionsRoute = createRoute({
  method: "options",
  path: "/uploads/{id}",
  operationId: "getUploadCapabilitiesOfOne",
  tags,
  summary: "What this server supports of tus and of the IETF draft",
  security: [],
  request: { params: uploadParams },
  responses: { 200: { description: "In the headers `Tus-…`, `Upload-Limit` and `Accept-Patch`." } },
});

export const createUploadRoute = createRoute({
  method: "post",
  path: "/uploads",
  operationId: "createUpload",
  tags,
  summary: "Create a resumable upload",
  description: `${PROTOCOLS}\n\nThe upload \`/uploads/{id}\` becomes the file \`/files/{id}\`.`,
  ...needsWithin("write"),
  parameters: CREATION_HEADERS,
  request: { query: uploadQuerySchema, body: bodyWith("text/plain", "Hello, ") },
  responses: {
    201: { description: "The upload is created, and perhaps complete; `Location` has its URL." },
    ...problems(CHUNK_PROBLEMS),
  },
});

const uploadSchema = z
  .object({
    id: z.string(),
    offset: z.int(),
    length: z.int().nullable(),
    isComplete: z.boolean(),
    filename: z.string(),
    contentType: z.string(),
    expiresAt: z.iso.datetime(),
  })
  .meta({ id: "Upload" });

/** HEAD says to those who write how to go on. GET shows more. */
const requireScopeOfRead: MiddlewareHandler<AppEnv> = async (c, next) =>
  requireScopeWithin(c.req.method === "HEAD" ? "write" : "read")(c, next);

export const getUploadRoute = createRoute({
  method: "get",
  path: "/uploads/{id}",
  operationId: "getUpload",
  tags,
  summary: "The file of a finished upload, or how many bytes an upload has",
  description:
    "Of a finished upload, `GET` responds with the file, as `GET /files/{id}` does. Of one that is under way, it shows " +
    "the state; `Upload-Offset` says where to continue. That stops a request which is still appending to the upload, " +
    "so the scope `write` is needed too. Clients resume with `HEAD`, for which `write` is enough.\n\n" +
    PROTOCOLS,
  security: [{ token: ["read"] }],
  middleware: requireScopeOfRead,
  parameters: VERSION_HEADERS,
  request: {
    params: uploadParams,
    query: z.object({
      disposition: z
        .enum(["attachment", "inline"])
        .optional()
        .meta({ description: "As for `GET /files/{id}`." }),
    }),
  },
  responses: {
    200: {
      description: "The bytes of the file; or the upload, if it is under way.",
      content: { "application/json": { schema: uploadSchema }, ...BYTES },
    },
    204: { description: "For HEAD in the IETF draft; the state is in the headers." },
    206: { description: "The requested range of the file.", content: BYTES },
    304: { description: "The file is not modified." },
    ...problems({
      400: CHUNK_PROBLEMS[400],
      404: "There is no such upload, or its file is gone.",
      412: `${CHUNK_PROBLEMS[412]} Or a precondition does not hold.`,
      416: "The range begins after the end of the file.",
    }),
  },
});

export const appendToUploadRoute = createRoute({
  method: "patch",
  path: "/uploads/{id}",
  operationId: "appendToUpload",
  tags,
  summary: "Append bytes to an upload",
  description: PROTOCOLS,
  ...needsWithin("write"),
  parameters: APPEND_HEADERS,
  request: { params: uploadParams, body: bodyWith(PARTIAL_UPLOAD, "Sluice.") },
  responses: {
    200: { description: "The upload is complete (IETF draft, from version 7 on)." },
    201: { description: "The bytes are appended, or the upload is complete (IETF draft, up to version 6)." },
    204: { description: "The bytes are appended." },
    ...problems(CHUNK_PROBLEMS),
  },
});

export const deleteUploadRoute = createRoute({
  method: "delete",
  path: "/uploads/{id}",
  operationId: "deleteUpload",
  tags,
  summary: "Remove an upload",
  description: "In tus, this also removes the file that a complete upload became.",
  ...needsWithin("write"),
  parameters: VERSION_HEADERS,
  request: { params: uploadParams },
  responses: {
    204: { description: "The upload is removed." },
    ...problems({ 400: CHUNK_PROBLEMS[400], 404: CHUNK_PROBLEMS[404], 412: CHUNK_PROBLEMS[412] }),
  },
});

export const overrideMethodRoute = createRoute({
  method: "post",
  path: "/uploads/{id}",
  operationId: "overrideUploadMethod",
  tags,
  summary: "PATCH, DELETE or HEAD, for clients that cannot send those methods",
  description: "The method is in `X-HTTP-Method-Override` (tus).",
  ...needsWithin("write"),
  parameters: [header("X-HTTP-Method-Override", "`PATCH`, `DELETE` or `HEAD`.", "PATCH"), ...APPEND_HEADERS],
  request: { params: uploadParams, body: bodyWith(PARTIAL_UPLOAD, "Sluice.") },
  responses: {
    200: { description: "As PATCH or HEAD." },
    201: { description: "As PATCH." },
    204: { description: "As PATCH, DELETE or HEAD." },
    ...problems({ ...CHUNK_PROBLEMS, 405: "The method is another one, or is missing." }),
  },
});
