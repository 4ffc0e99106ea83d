/** Storing files: from a form, or as the body of a PUT. */
import { createRoute, z } from "@hono/zod-openapi";
import { createRouter, json, needs, problems } from "../../kernel/app.ts";
import { Problem } from "../../kernel/problem.ts";
import { checkTaskType } from "../store/follow-up.ts";
import { fileIdSchema } from "../store/names.ts";
import { BYTES, storedFileSchema, uploadQuerySchema } from "../store/schema.ts";
import { uploadBody, uploadForm } from "./upload.ts";

export const storeRoutes = createRouter();

/** Bodies that are not zod schemas: with one, the whole of them would be read into memory before the handler runs. */
const BINARY = { type: "string" as const, contentMediaType: "application/octet-stream" };
const ONE_FILE = { type: "object" as const, required: ["file"], properties: { file: BINARY } };
const ANY_FIELDS = {
  type: "object" as const,
  additionalProperties: { oneOf: [BINARY, { type: "string" as const }] },
};
const FORM_PROBLEMS = {
  400: "The form is broken off, malformed, or names no boundary.",
  413: "The form has more parts, or one of them is longer, than is allowed; `detail` says which limit.",
  415: "The body is not multipart/form-data.",
};

storeRoutes.openapi(
  createRoute({
    method: "post",
    path: "/upload-file",
    tags: ["Examples"],
    summary: "Upload one file from a form",
    ...needs("write"),
    request: {
      query: uploadQuerySchema,
      body: { required: true, content: { "multipart/form-data": { schema: ONE_FILE } } },
    },
    responses: {
      201: json("The file is stored whole.", storedFileSchema),
      ...problems({
        ...FORM_PROBLEMS,
        422: 'There is not exactly one file, in the field "file", with a name.',
      }),
    },
  }),
  async (c) => {
    const query = c.req.valid("query");
    await checkTaskType(query.task);
    const upload = uploadForm(c.env, c.req.raw, query, {
      checkFile: checkOnlyFile,
      checkField: checkOtherField,
      checkCount: (count) => {
        if (count === 0) throw refused('There is no file in the form; send one in the field "file".');
      },
    });
    // A client that goes away ends this handler; what it leaves behind is then still cleared away.
    c.executionCtx.waitUntil(Promise.allSettled([upload]));
    const { files } = await upload;
    const file = storedFileSchema.parse(files[0]);
    return c.json(file, 201, { Location: file.url });
  },
);

function checkOnlyFile(field: string, filename: string, before: number): void {
  if (field !== "file") throw refused('The file is in another field; send it in the field "file".');
  if (filename === "") throw refused("The file has no name: no file was chosen.");
  if (before > 0) throw refused("The form has more than one file; send it to /files.");
}

function checkOtherField(name: string): void {
  if (name === "file") throw refused('The field "file" is text, not a file; with curl: -F file=@path.');
}

function refused(detail: string): Problem {
  return new Problem("invalid", detail, { errors: [{ at: "form/file", detail }] });
}

const formResultSchema = z
  .object({
    files: z.array(storedFileSchema.extend({ field: z.string() })),
    fields: z.array(z.object({ name: z.string(), value: z.string() })),
  })
  .meta({ id: "FormResult" });

storeRoutes.openapi(
  createRoute({
    method: "post",
    path: "/files",
    tags: ["Files"],
    summary: "Upload any number of files from a form",
    description:
      "All or none: if anything about the form is wrong, even after the last file, none of its files is kept. A file " +
      "input that was left empty is no file.",
    ...needs("write"),
    request: {
      query: uploadQuerySchema,
      body: { required: true, content: { "multipart/form-data": { schema: ANY_FIELDS } } },
    },
    responses: {
      201: json("The files are stored whole.", formResultSchema),
      ...problems({ ...FORM_PROBLEMS, 422: "A file has no name, or one that is too long." }),
    },
  }),
  async (c) => {
    const query = c.req.valid("query");
    await checkTaskType(query.task);
    const upload = uploadForm(c.env, c.req.raw, query, {
      checkFile: () => {},
      checkField: () => {},
      checkCount: () => {},
    });
    c.executionCtx.waitUntil(Promise.allSettled([upload]));
    return c.json(await upload, 201);
  },
);

storeRoutes.openapi(
  createRoute({
    method: "put",
    path: "/files/{id}",
    tags: ["Files"],
    summary: "Store the body under an id of your choice",
    description:
      "Creates or replaces. `If-None-Match: *` only creates, `If-Match: <etag>` only replaces that version. " +
      "`Content-Digest` or `Repr-Digest` (sha-256, sha-512) and `Content-MD5` are verified. The file's name is the " +
      "one in a `Content-Disposition` header, or the id.",
    ...needs("write"),
    request: { params: z.object({ id: fileIdSchema }), query: uploadQuerySchema, body: { content: BYTES } },
    responses: {
      200: json("Replaced.", storedFileSchema),
      201: json("Created.", storedFileSchema),
      ...problems({
        400: "The body broke off, or is not what a digest says.",
        409: "It took more than a day.",
        412: "A precondition does not hold.",
        413: "Longer than MAX_FILE_BYTES.",
        415: "With Content-Encoding.",
        422: "An id or query parameter that cannot be.",
      }),
    },
  }),
  async (c) => {
    const { id } = c.req.valid("param");
    const query = c.req.valid("query");
    await checkTaskType(query.task);
    const upload = uploadBody(c.env, c.req.raw, id, query);
    c.executionCtx.waitUntil(Promise.allSettled([upload]));
    const { is, etag, file } = await upload;
    if (is === "replaced") return c.json(file, 200, { ETag: etag });
    return c.json(file, 201, { ETag: etag, Location: file.url });
  },
);
