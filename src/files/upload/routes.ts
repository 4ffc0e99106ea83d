/** Routes that store files: from a form, or as the body of a PUT. */
import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { createRouter, json, needsWithin, problems } from "../../kernel/app.ts";
import type { AppEnv } from "../../kernel/app-env.ts";
import { Problem } from "../../kernel/problem.ts";
import { fileIdSchema } from "../store/names.ts";
import { BYTES, HELD, storedFileSchema, TEXT, uploadQuerySchema } from "../store/schema.ts";
import { checkTask } from "../store/upload-task.ts";
import type { Uploader } from "../store/uploader.ts";
import { uploadBody, uploadForm } from "./upload.ts";

/** Plain JSON Schemas: for a zod schema, the router would read the whole form into memory to validate it. */
const BINARY = { type: "string" as const, contentMediaType: "application/octet-stream" };
const ONE_FILE = { type: "object" as const, required: ["file"], properties: { file: BINARY } };
const ANY_FIELDS = {
  type: "object" as const,
  properties: { file: BINARY, note: { type: "string" as const, example: "hello" } },
  additionalProperties: { oneOf: [BINARY, { type: "string" as const }] },
};
const FORM_PROBLEMS = {
  400:
    "The form breaks off, is malformed, has no valid boundary, has text that is not in its charset, does not match " +
    "a digest, or has one that is not checked here.",
  413: "The form has too many parts, or one of them is too long; `detail` says which limit was exceeded.",
  415: "The body is not multipart/form-data, or it or a part of it has an encoding that is not known; or UPLOAD_RULES does not take the type of a file, or its bytes are not of it.",
  507: "A quota of stored bytes has no room for it. With Retry-After.",
};

const uploadFileRoute = createRoute({
  method: "post",
  path: "/upload-file",
  operationId: "uploadFile",
  tags: ["Examples"],
  summary: "Upload one file from a form",
  ...needsWithin("write"),
  request: {
    query: uploadQuerySchema,
    body: {
      required: true,
      description: "A form with one file, in the field `file`. Other fields are ignored.",
      content: { "multipart/form-data": { schema: ONE_FILE } },
    },
  },
  responses: {
    201: json("The file is stored.", storedFileSchema),
    202: json(HELD, storedFileSchema),
    ...problems({
      ...FORM_PROBLEMS,
      422: "The form does not have exactly one file with a name, in the field `file`.",
    }),
  },
});

const formResultSchema = z
  .object({
    files: z.array(storedFileSchema.extend({ field: z.string() })),
    fields: z.array(z.object({ name: z.string(), value: z.string() })),
  })
  .meta({ id: "FormResult" });

const uploadFilesRoute = createRoute({
  method: "post",
  path: "/files",
  operationId: "uploadFiles",
  tags: ["Files"],
  summary: "Upload any number of files from a form",
  description:
    "Stores all files or none: if anything in the form is invalid, even after the last file, no file is kept. An " +
    "empty file input is not a file. A part's `Content-Transfer-Encoding` (base64, quoted-printable) is decoded; its " +
    "`charset`, or that of the form in a field `_charset_`, counts for text. Digests of the form or of a part " +
    "(`Content-Digest`, `Repr-Digest`, `Content-MD5`) are verified.",
  ...needsWithin("write"),
  request: {
    query: uploadQuerySchema,
    body: {
      required: true,
      description: "A form with any files and fields. The response contains the values of the fields.",
      content: { "multipart/form-data": { schema: ANY_FIELDS } },
    },
  },
  responses: {
    201: json("The files are stored.", formResultSchema),
    202: json(HELD, formResultSchema),
    ...problems({
      ...FORM_PROBLEMS,
      422: "A file has no name, one that is too long, or an extension that UPLOAD_RULES does not take.",
    }),
  },
});

const putFileRoute = createRoute({
  method: "put",
  path: "/files/{id}",
  operationId: "putFile",
  tags: ["Files"],
  summary: "Store the body under an id of your choice",
  description:
    "Creates or replaces a file. `If-None-Match: *` only creates; `If-Match: <etag>` only replaces that version. " +
    "`Content-Digest` and `Repr-Digest` (sha-256, sha-512, sha, md5) and `Content-MD5` are verified. The name of the file " +
    "comes from a `Content-Disposition` header; without one it is the id.",
  ...needsWithin("write"),
  request: {
    params: z.object({ id: fileIdSchema.meta({ example: "hello.txt" }) }),
    query: uploadQuerySchema,
    body: {
      description:
        "The bytes of the file, of any media type. `Content-Type`, with its parameters, becomes its type.",
      content: { ...TEXT, ...BYTES },
    },
  },
  responses: {
    200: json("The file is replaced.", storedFileSchema),
    201: json("The file is created.", storedFileSchema),
    202: json(HELD, storedFileSchema),
    ...problems({
      400: "The body broke off, does not match a digest, has one that is not checked here, or is a part of a file.",
      409: "The upload took more than a day.",
      412: "A precondition does not hold.",
      413: "The file is longer than MAX_FILE_BYTES or UPLOAD_RULES allows; or a page of the edge, whose limit for one request is MAX_REQUEST_BYTES.",
      415: "The request has a Content-Encoding (only identity is accepted), or is a form; or UPLOAD_RULES does not take its type, or its bytes are not of it.",
      422: "The id or a query parameter is invalid, or UPLOAD_RULES does not take the extension.",
      507: "A quota of stored bytes has no room for it. With Retry-After.",
    }),
  },
});

export const storeRoutes = createRouter()
  .openapi(uploadFileRoute, async (c) => {
    const query = c.req.valid("query");
    await checkTask(query.task);
    const upload = uploadForm(
      c.env,
      c.req.raw,
      query,
      {
        checkFile: checkOnlyFile,
        checkField: checkOtherField,
        checkCount: (count) => {
          if (count === 0)
            throw invalidFile(
              'There is no file in the form, or none was chosen; send one in the field "file".',
            );
        },
      },
      tokenOf(c),
    );
    // If the client disconnects, this handler ends, but what it leaves behind must still be removed.
    c.executionCtx.waitUntil(Promise.allSettled([upload]));
    const { files } = await upload;
    const file = storedFileSchema.parse(files[0]);
    if (file.isHeld) return c.json(file, 202);
    return c.json(file, 201, { Location: file.url });
  })
  .openapi(uploadFilesRoute, async (c) => {
    const query = c.req.valid("query");
    await checkTask(query.task);
    const upload = uploadForm(
      c.env,
      c.req.raw,
      query,
      {
        checkFile: () => {},
        checkField: () => {},
        checkCount: () => {},
      },
      tokenOf(c),
    );
    c.executionCtx.waitUntil(Promise.allSettled([upload]));
    const result = await upload;
    return c.json(result, result.files.some(({ isHeld }) => isHeld) ? 202 : 201);
  })
  .openapi(putFileRoute, async (c) => {
    const { id } = c.req.valid("param");
    const query = c.req.valid("query");
    await checkTask(query.task);
    const upload = uploadBody(c.env, c.req.raw, id, query, tokenOf(c));
    c.executionCtx.waitUntil(Promise.allSettled([upload]));
    const { is, etag, file } = await upload;
    // For the ETag: the edge weakens that of what it compresses.
    const headers = { ETag: etag, "Cache-Control": "no-transform" };
    if (is === "held") return c.json(file, 202);
    if (is === "replaced") return c.json(file, 200, headers);
    return c.json(file, 201, { ...headers, Location: file.url });
  });

/** Whoever sent the token. */
function tokenOf(c: Context<AppEnv>): Uploader {
  const { name, bounds } = c.get("principal");
  return { owner: name, terms: null, bounds };
}

function checkOnlyFile(field: string, count: number): void {
  if (field !== "file") throw invalidFile('The file is in another field; send it in the field "file".');
  if (count > 0) throw invalidFile("The form has more than one file; send it to /files.");
}

function checkOtherField(name: string): void {
  if (name === "file") throw invalidFile('The field "file" is text, not a file; with curl: -F file=@path.');
}

function invalidFile(detail: string): Problem {
  return new Problem("invalid", detail, { errors: [{ at: "form/file", detail }] });
}
