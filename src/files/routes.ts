import { createRoute, z } from "@hono/zod-openapi";
import { create as contentDisposition } from "content-disposition";
import { createRouter, json, needs, problems } from "../kernel/app.ts";
import { Problem } from "../kernel/problem.ts";
import { type FileRecord, storedFileSchema } from "./schema.ts";
import { findFile, openFile } from "./store.ts";
import { uploadForm } from "./upload.ts";

export const fileRoutes = createRouter();

const FORM_SCHEMA = {
  type: "object" as const,
  required: ["file"],
  properties: { file: { type: "string" as const, contentMediaType: "application/octet-stream" } },
};

fileRoutes.openapi(
  createRoute({
    method: "post",
    path: "/upload-file",
    tags: ["Files"],
    summary: "Upload a file from a form",
    ...needs("write"),
    request: {
      body: {
        required: true,
        // Not a zod schema: with one, the whole form would be read into memory before the handler runs.
        content: { "multipart/form-data": { schema: FORM_SCHEMA } },
      },
    },
    responses: {
      201: json("The file is stored whole.", storedFileSchema),
      ...problems({
        400: "The form is broken off, malformed, or names no boundary.",
        415: "The body is not multipart/form-data.",
        422: 'There is not exactly one file, in the field "file", with a name.',
      }),
    },
  }),
  async (c) => {
    const upload = uploadForm(c.env.FILES, c.req.raw);
    // A client that goes away ends this handler; what it leaves behind is then still cleared away.
    c.executionCtx.waitUntil(Promise.allSettled([upload]));
    const { id, filename, size, contentType, sha256 } = await upload;
    const url = new URL(`/files/${id}`, c.req.url).href;
    return c.json({ filename, id, url, size, contentType, sha256 }, 201, { Location: url });
  },
);

fileRoutes.openapi(
  createRoute({
    method: "get",
    path: "/files/{id}",
    tags: ["Files"],
    summary: "Download a file",
    ...needs("read"),
    request: { params: z.object({ id: z.string().max(128) }) },
    responses: {
      200: {
        description: "The bytes, as they were uploaded.",
        content: { "application/octet-stream": { schema: z.string().meta({ format: "binary" }) } },
      },
      ...problems({ 404: "No such file." }),
    },
  }),
  async (c) => {
    const { id } = c.req.valid("param");
    const record = await findFile(c.env.FILES, id);
    if (!record) throw new Problem("not-found", `There is no file ${id}.`);
    if (c.req.method === "HEAD") return c.body(null, 200, fileHeaders(record));
    const body = await openFile(c.env.FILES, id, record);
    if (!body) throw new Problem("not-found", `The file ${id} has just been removed.`);
    return c.body(body, 200, fileHeaders(record));
  },
);

/** Whatever the bytes are, a browser saves them: they can run neither in this origin nor anywhere else. */
function fileHeaders({ filename, contentType, size, sha256 }: FileRecord): Record<string, string> {
  return {
    "Content-Type": contentType,
    "Content-Length": String(size),
    "Content-Disposition": contentDisposition(filename),
    "Content-Security-Policy": "default-src 'none'; sandbox",
    ETag: `"${sha256}"`,
    "Cache-Control": "private, no-cache",
  };
}
