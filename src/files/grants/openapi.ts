/** The routes of `/uploads/grants` as the OpenAPI document shows them. */
import { createRoute, z } from "@hono/zod-openapi";
import { json, needs, openProblems, problems } from "../../kernel/app.ts";
import { BYTES, HELD, storedFileSchema, TEXT } from "../store/schema.ts";
import { grantRequestSchema } from "./grant.ts";

const tags = ["Upload grants"];
const grantParams = z.object({ id: z.string().meta({ description: "The grant, from its URL." }) });
const uploadParams = grantParams.extend({
  upload: z.string().meta({ description: "From the URL in `Location`." }),
});
const nameParams = grantParams.extend({ upload: z.string().meta({ description: "The name of the file." }) });

const grantSchema = z
  .object({
    id: z.string(),
    url: z
      .url()
      .meta({ description: "Where to upload: POST a form, PUT a file, or the endpoint of a tus client." }),
    owner: z.string().meta({ description: "What the files show as their `owner`." }),
    maxBytes: z.int(),
    contentTypes: z.array(z.string()),
    files: z.int(),
    prefix: z.string(),
    task: z.string().nullable(),
    metadata: z.record(z.string(), z.string()).nullable(),
    expiresAt: z.iso.datetime(),
  })
  .meta({ id: "UploadGrant" });
const grantStateSchema = grantSchema
  .extend({
    stored: z.int().meta({ description: "Files stored with it, also those that were removed since." }),
    underWay: z.int().meta({ description: "Resumable uploads that hold a place." }),
    isRevoked: z.boolean(),
  })
  .meta({ id: "UploadGrantState" });

export const createGrantRoute = createRoute({
  method: "post",
  path: "/uploads/grants",
  operationId: "createUploadGrant",
  tags,
  summary: "Create a URL that lets people without a token upload",
  description:
    "Whoever has the URL can upload within these terms, and nothing else, until the grant expires or is revoked. " +
    "Nothing is stored before it is used.",
  ...needs("write", "read"),
  request: {
    body: {
      required: true,
      content: {
        "application/json": {
          schema: grantRequestSchema,
          example: { max_bytes: 5_000_000, content_types: ["image/*"], files: 3, expires_in: 86_400 },
        },
      },
    },
  },
  responses: {
    201: json("The grant.", grantSchema),
    ...problems({
      400: "The body is not valid JSON.",
      413: "The body is too long.",
      415: "The body is not application/json.",
      422: "A term is invalid, or there is no such task.",
      503: "The secret LINK_KEYS is not set.",
    }),
  },
});

export const getGrantRoute = createRoute({
  method: "get",
  path: "/uploads/grants/{id}",
  operationId: "getUploadGrant",
  tags,
  summary: "The terms of a grant, and how much of it is used",
  ...needs("read"),
  request: { params: grantParams },
  responses: {
    200: json("The grant.", grantStateSchema),
    ...problems({ 403: "Nobody here has signed this grant." }),
  },
});

export const revokeGrantRoute = createRoute({
  method: "delete",
  path: "/uploads/grants/{id}",
  operationId: "revokeUploadGrant",
  tags,
  summary: "Revoke a grant",
  description: "From then on nothing is stored with it, uploads under way included. What is stored stays.",
  ...needs("write"),
  request: { params: grantParams },
  responses: {
    204: { description: "It is revoked." },
    ...problems({ 403: "Nobody here has signed this grant." }),
  },
});

const REFUSALS = openProblems({
  400: "The request is malformed or broke off, or a digest does not match.",
  403: "The grant is not valid, has expired or is revoked, or the upload says what only a grant may say.",
  404: "There is no such upload with this grant.",
  409: "As many files as the grant allows are stored or on their way; or the upload is at another offset.",
  412: "The request speaks another version of tus.",
  413: "The file is longer than the grant allows, or than any may be here.",
  415: "The grant or a rule does not take this type, the bytes are not of it, or the request has another type than its protocol.",
  422: "The form has no file, or a name is too long or has an extension that a rule does not take.",
  507: "A quota of stored bytes has no room for it. With Retry-After.",
});
const ANY_FORM = { type: "object" as const, additionalProperties: true };
const open = { tags, security: [] };

export const optionsGrantRoute = createRoute({
  ...open,
  method: "options",
  path: "/uploads/grants/{id}",
  operationId: "getUploadGrantCapabilities",
  summary: "What this server supports of tus and of the IETF draft, with this grant",
  request: { params: grantParams },
  responses: { 200: { description: "In the headers." }, ...REFUSALS },
});

export const optionsGrantedRoute = createRoute({
  ...open,
  method: "options",
  path: "/uploads/grants/{id}/{upload}",
  operationId: "getGrantedUploadCapabilities",
  summary: "As for the grant",
  request: { params: uploadParams },
  responses: { 200: { description: "In the headers." }, ...REFUSALS },
});

export const uploadWithGrantRoute = createRoute({
  ...open,
  method: "post",
  path: "/uploads/grants/{id}",
  operationId: "uploadWithGrant",
  summary: "Upload with a grant: a form, or a resumable upload",
  description:
    "`multipart/form-data`: the files of a form, as `POST /files`. Else it creates a resumable upload, as `POST /uploads`.",
  request: {
    params: grantParams,
    body: { content: { "multipart/form-data": { schema: ANY_FORM }, ...BYTES } },
  },
  responses: {
    202: { description: "As 201, of files that are held until they are checked." },
    201: { description: "The files of the form, as `POST /files` shows them; or the upload, in `Location`." },
    ...REFUSALS,
  },
});

const stored = {
  201: json("The file is stored.", storedFileSchema),
  202: json(HELD, storedFileSchema),
  ...REFUSALS,
};
const anyBody = { content: { ...TEXT, ...BYTES } };

export const putWithGrantRoute = createRoute({
  ...open,
  method: "put",
  path: "/uploads/grants/{id}",
  operationId: "putWithGrant",
  summary: "Store the body with a grant",
  description: "The name of the file comes from `Content-Disposition`. Its id is new.",
  request: { params: grantParams, body: anyBody },
  responses: stored,
});

export const putNamedWithGrantRoute = createRoute({
  ...open,
  method: "put",
  path: "/uploads/grants/{id}/{upload}",
  operationId: "putNamedWithGrant",
  summary: "Store the body with a grant, under a name",
  description: "As `curl -T report.pdf <url>/` sends it. The name is that of the file; its id is new.",
  request: { params: nameParams, body: anyBody },
  responses: stored,
});

const ofUpload = { ...open, path: "/uploads/grants/{id}/{upload}" } as const;
const progressed = {
  200: { description: "As for `/uploads/{id}`." },
  201: { description: "As for `/uploads/{id}`." },
  204: { description: "As for `/uploads/{id}`." },
  ...REFUSALS,
};

export const headGrantedRoute = createRoute({
  ...ofUpload,
  method: "get",
  operationId: "getGrantedUpload",
  summary: "How many bytes an upload has, in its headers",
  description: "For `HEAD`. A `GET` has the same headers, and no body.",
  request: { params: uploadParams },
  responses: progressed,
});

export const appendGrantedRoute = createRoute({
  ...ofUpload,
  method: "patch",
  operationId: "appendToGrantedUpload",
  summary: "Append bytes to an upload, as `PATCH /uploads/{id}`",
  request: { params: uploadParams, body: { content: BYTES } },
  responses: progressed,
});

export const deleteGrantedRoute = createRoute({
  ...ofUpload,
  method: "delete",
  operationId: "deleteGrantedUpload",
  summary: "End an upload, which gives its place back. A file stays",
  request: { params: uploadParams },
  responses: progressed,
});

export const overrideGrantedRoute = createRoute({
  ...ofUpload,
  method: "post",
  operationId: "overrideGrantedUploadMethod",
  summary: "PATCH, DELETE or HEAD, which `X-HTTP-Method-Override` names",
  request: { params: uploadParams, body: { content: BYTES } },
  responses: progressed,
});
