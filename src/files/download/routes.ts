/** Routes that read, list, share and remove files. */
import { createRoute, z } from "@hono/zod-openapi";
import {
  createRouter,
  json,
  needsWithin,
  openProblems,
  problems,
  RESOURCE_POLICY,
} from "../../kernel/app.ts";
import { isWithin } from "../../kernel/bounds.ts";
import { linkBody, linkSchema } from "../../kernel/links.ts";
import { cursorParam, emptyIsAbsent, pageSize } from "../../kernel/query.ts";
import { listFiles } from "../store/list.ts";
import { fileIdSchema } from "../store/names.ts";
import { readPreconditions } from "../store/preconditions.ts";
import { notFound, preconditionFailed } from "../store/problems.ts";
import { BYTES, fileSchema, fileUrl } from "../store/schema.ts";
import { callCatalogue, catalogueOf } from "../store/shards.ts";
import { download } from "./download.ts";
import { checkLink, signLink } from "./links.ts";

const tags = ["Files"];
const fileParams = z.object({ id: fileIdSchema.meta({ example: "hello.txt" }) });
const readQuery = z.object({
  disposition: emptyIsAbsent(
    z.enum(["attachment", "inline"]).meta({
      description:
        "`inline`: a browser may show the file if it is an image, audio, video or plain text. Default: `attachment`.",
    }),
  ),
});
const listQuery = z.object({
  prefix: emptyIsAbsent(
    fileIdSchema.meta({ description: "Only files whose id begins with this. Default: all files." }),
  ),
  source: emptyIsAbsent(
    fileIdSchema.meta({ description: "Only files that were made from the file with this id." }),
  ),
  limit: pageSize(1000, 100),
  cursor: cursorParam(),
});

const DOWNLOADS = {
  200: { description: "The bytes as they were uploaded.", content: BYTES },
  206: { description: "The requested range.", content: BYTES },
  304: { description: "Not modified." },
};
const DOWNLOAD_PROBLEMS = {
  412: "A precondition does not hold.",
  416: "The range begins after the end.",
};

const listFilesRoute = createRoute({
  method: "get",
  path: "/files",
  operationId: "listFiles",
  tags,
  summary: "List files",
  ...needsWithin("read"),
  request: { query: listQuery },
  responses: {
    200: json(
      "A page of files, in the order of their ids.",
      z
        .object({
          files: z.array(fileSchema),
          next: z
            .string()
            .nullable()
            .meta({ description: "The cursor of the next page; null on the last page." }),
        })
        .meta({ id: "FileList" }),
    ),
    ...problems({ 422: "A query parameter is invalid." }),
  },
});

const downloadFileRoute = createRoute({
  method: "get",
  path: "/files/{id}",
  operationId: "downloadFile",
  tags,
  summary: "Download a file",
  description:
    "With `Range`, one range of it; a request for several ranges gets the whole file (RFC 9110 §14.2). Conditional " +
    "with `If-Match`, `If-None-Match`, `If-Modified-Since`, `If-Unmodified-Since` and `If-Range`.",
  ...needsWithin("read"),
  request: { params: fileParams, query: readQuery },
  responses: { ...DOWNLOADS, ...problems({ 404: "There is no such file.", ...DOWNLOAD_PROBLEMS }) },
});

const deleteFileRoute = createRoute({
  method: "delete",
  path: "/files/{id}",
  operationId: "deleteFile",
  tags,
  summary: "Remove a file",
  description: "With `If-Match`, only that version.",
  ...needsWithin("write"),
  request: { params: fileParams },
  responses: {
    204: { description: "The file is removed." },
    ...problems({ 404: "There is no such file.", 412: "A precondition does not hold." }),
  },
});

const createLinkRoute = createRoute({
  method: "post",
  path: "/files/{id}/links",
  operationId: "createLink",
  tags,
  summary: "Create a link that needs no token",
  description: "Anyone who has the URL can read this file, and nothing else, until the link expires.",
  ...needsWithin("write", "read"),
  request: {
    params: fileParams,
    body: linkBody,
  },
  responses: {
    201: json("The link.", linkSchema),
    ...problems({
      400: "The body is not valid JSON.",
      404: "There is no such file.",
      413: "The body is too long.",
      415: "The body is not application/json.",
      422: "`expires_in` is invalid.",
      503: "The secret LINK_KEYS is not set.",
    }),
  },
});

const downloadByLinkRoute = createRoute({
  method: "get",
  path: "/files/{id}/links/{token}",
  operationId: "downloadByLink",
  tags,
  summary: "Download a file by a link",
  description: "As `GET /files/{id}`, without a token.",
  security: [],
  request: { params: fileParams.extend({ token: z.string() }), query: readQuery },
  responses: {
    ...DOWNLOADS,
    ...openProblems({
      403: "The link is not valid or has expired.",
      404: "There is no such file.",
      ...DOWNLOAD_PROBLEMS,
    }),
  },
});

export const fileRoutes = createRouter()
  .openapi(listFilesRoute, async (c) => {
    const { prefix = "", source, limit, cursor } = c.req.valid("query");
    const page = await listFiles(c.env, {
      prefix,
      source,
      limit,
      cursor,
      base: c.req.url,
      bounds: c.get("principal").bounds,
    });
    return c.json(page, 200, { "Cache-Control": "no-store" });
  })
  .openapi(downloadFileRoute, async (c) => {
    const { disposition } = c.req.valid("query");
    const { bounds } = c.get("principal");
    return download(c.env, c.req.raw, c.req.valid("param").id, disposition === "inline", bounds);
  })
  .openapi(deleteFileRoute, async (c) => {
    const { id } = c.req.valid("param");
    const { bounds } = c.get("principal");
    const preconditions = readPreconditions(c.req.raw.headers);
    const outcome = await callCatalogue(
      async () => catalogueOf(c.env, id).remove(id, preconditions, bounds),
      "once",
    );
    if (outcome === "missing") throw notFound(id);
    if (outcome === "precondition-failed") throw preconditionFailed(id);
    return c.body(null, 204);
  })
  .openapi(createLinkRoute, async (c) => {
    const { id } = c.req.valid("param");
    const row = await callCatalogue(async () => catalogueOf(c.env, id).find(id));
    if (!row || !isWithin(c.get("principal").bounds, row)) throw notFound(id);
    const { token, expiresAt } = signLink(c.env, id, c.req.valid("json").expires_in, Date.now());
    const url = `${fileUrl(id, c.req.url)}/links/${token}`;
    return c.json({ url, expiresAt }, 201, { Location: url });
  });

/** Open to everyone: a link needs no token. */
export const linkRoutes = createRouter().openapi(downloadByLinkRoute, async (c) => {
  const { id, token } = c.req.valid("param");
  checkLink(c.env, id, token, Date.now());
  const response = await download(c.env, c.req.raw, id, c.req.valid("query").disposition === "inline");
  // A link may be embedded in a page of any site.
  response.headers.set(RESOURCE_POLICY, "cross-origin");
  return response;
});
