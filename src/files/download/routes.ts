/** Reading, listing, sharing and removing files. */
import { createRoute, z } from "@hono/zod-openapi";
import { createRouter, json, needs, problems, RESOURCE_POLICY } from "../../kernel/app.ts";
import { readConditions } from "../store/conditions.ts";
import { notFound, preconditionFailed } from "../store/errors.ts";
import { listFiles } from "../store/list.ts";
import { fileIdSchema } from "../store/names.ts";
import { BYTES, fileSchema, fileUrl } from "../store/schema.ts";
import { catalogueOf } from "../store/shards.ts";
import { download } from "./download.ts";
import { checkLink, MAX_LINK_LIFE, signLink } from "./links.ts";

export const fileRoutes = createRouter();
/** For anybody: a link needs no token. */
export const linkRoutes = createRouter();

const fileParams = z.object({ id: fileIdSchema });
const readQuery = z.object({
  disposition: z.enum(["attachment", "inline"]).default("attachment").meta({
    description: "`inline`: a browser may show it, if it is an image, audio, video or plain text.",
  }),
});

fileRoutes.openapi(
  createRoute({
    method: "get",
    path: "/files",
    tags: ["Files"],
    summary: "Which files there are",
    ...needs("read"),
    request: {
      query: z.object({
        prefix: z
          .union([z.literal(""), fileIdSchema])
          .default("")
          .meta({ description: "Of the id." }),
        limit: z.coerce.number().int().min(1).max(1000).default(100),
        cursor: z.string().max(200).optional().meta({ description: "`next` of the page before." }),
      }),
    },
    responses: {
      200: json(
        "A page of files, in the order of their ids.",
        z
          .object({
            files: z.array(fileSchema),
            next: z
              .string()
              .nullable()
              .meta({ description: "The cursor of the next page; null on the last." }),
          })
          .meta({ id: "FileList" }),
      ),
      ...problems({ 422: "A query parameter is wrong." }),
    },
  }),
  async (c) => {
    const { prefix, limit, cursor } = c.req.valid("query");
    const page = await listFiles(c.env, { prefix, limit, cursor, base: c.req.url });
    return c.json(page, 200, { "Cache-Control": "no-store" });
  },
);

const DOWNLOADS = {
  200: { description: "The bytes, as they were uploaded.", content: BYTES },
  206: { description: "The range that was asked for.", content: BYTES },
  304: { description: "Not modified." },
};
const DOWNLOAD_PROBLEMS = {
  412: "A precondition does not hold.",
  416: "The range begins after the end.",
};

fileRoutes.openapi(
  createRoute({
    method: "get",
    path: "/files/{id}",
    tags: ["Files"],
    summary: "Download a file",
    description:
      "With `Range`, one range of it; several are answered with the whole file (RFC 9110 §14.2). Conditional by " +
      "`If-Match`, `If-None-Match`, `If-Modified-Since`, `If-Unmodified-Since` and `If-Range`.",
    ...needs("read"),
    request: { params: fileParams, query: readQuery },
    responses: { ...DOWNLOADS, ...problems({ 404: "No such file.", ...DOWNLOAD_PROBLEMS }) },
  }),
  async (c) => {
    const { disposition } = c.req.valid("query");
    return download(c.env, c.req.raw, c.req.valid("param").id, disposition === "inline");
  },
);

fileRoutes.openapi(
  createRoute({
    method: "delete",
    path: "/files/{id}",
    tags: ["Files"],
    summary: "Remove a file",
    ...needs("write"),
    request: { params: fileParams },
    responses: {
      204: { description: "It is gone." },
      ...problems({ 404: "No such file.", 412: "A precondition does not hold." }),
    },
  }),
  async (c) => {
    const { id } = c.req.valid("param");
    const outcome = await catalogueOf(c.env, id).remove(id, readConditions(c.req.raw.headers));
    if (outcome === "missing") throw notFound(id);
    if (outcome === "precondition-failed") throw preconditionFailed(id);
    return c.body(null, 204);
  },
);

fileRoutes.openapi(
  createRoute({
    method: "post",
    path: "/files/{id}/links",
    tags: ["Files"],
    summary: "A link that needs no token",
    description: "Whoever has the URL can read this file, and nothing else, until then.",
    ...needs("write"),
    request: {
      params: fileParams,
      body: {
        required: true,
        content: {
          "application/json": {
            schema: z.strictObject({
              expires_in: z.int().min(1).max(MAX_LINK_LIFE).meta({ description: "Seconds; at most 7 days." }),
            }),
          },
        },
      },
    },
    responses: {
      201: json("The link.", z.object({ url: z.url(), expiresAt: z.iso.datetime() }).meta({ id: "Link" })),
      ...problems({
        404: "No such file.",
        422: "`expires_in` is wrong.",
        503: "There is no secret LINK_KEYS.",
      }),
    },
  }),
  async (c) => {
    const { id } = c.req.valid("param");
    if (!(await catalogueOf(c.env, id).find(id))) throw notFound(id);
    const expiresAt = Math.floor(Date.now() / 1000) + c.req.valid("json").expires_in;
    const url = `${fileUrl(id, c.req.url)}/links/${signLink(c.env, id, expiresAt)}`;
    return c.json({ url, expiresAt: new Date(expiresAt * 1000).toISOString() }, 201, { Location: url });
  },
);

linkRoutes.openapi(
  createRoute({
    method: "get",
    path: "/files/{id}/links/{token}",
    tags: ["Files"],
    summary: "Download a file by a link",
    description: "As `GET /files/{id}`, without a token.",
    request: { params: fileParams.extend({ token: z.string() }), query: readQuery },
    responses: {
      ...DOWNLOADS,
      ...problems({ 403: "The link is not valid, or is over.", 404: "No such file.", ...DOWNLOAD_PROBLEMS }),
    },
  }),
  async (c) => {
    const { id, token } = c.req.valid("param");
    checkLink(c.env, id, token, Date.now());
    const response = await download(c.env, c.req.raw, id, c.req.valid("query").disposition === "inline");
    // A link may be put into the page of any site.
    response.headers.set(RESOURCE_POLICY, "cross-origin");
    return response;
  },
);
