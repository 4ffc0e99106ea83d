/** `/uploads`: resumable uploads, in tus and in the IETF draft, on one resource. The headers say which is spoken. */

import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { createRouter, json, needs, problems } from "../../kernel/app.ts";
import { type AppEnv } from "../../kernel/app-env.ts";
import { Problem } from "../../kernel/problem.ts";
import { BYTES, uploadQuerySchema } from "../store/schema.ts";
import { readFileSettings } from "../store/settings.ts";
import { ietf, PARTIAL_UPLOAD, uploadLimit } from "./ietf.ts";
import { uploadIdSchema } from "./spec.ts";
import { speaksTus, TUS_VERSION, tus, tusOptions } from "./tus.ts";
import { type Protocol, UploadCall } from "./upload-call.ts";

/** What tus asks of every answer, those included that never reach a route. For anybody. */
export const uploadPreface = createRouter();
export const uploadRoutes = createRouter();

for (const path of ["/uploads", "/uploads/{id}"]) {
  uploadPreface.use(path.replace("{id}", ":id"), async (c, next) => {
    await next();
    // Not to whoever speaks the other protocol.
    if (speaksTus(c.req.raw.headers)) c.header("Tus-Resumable", TUS_VERSION);
  });
  const methods = path === "/uploads" ? "POST, OPTIONS" : "GET, HEAD, PATCH, DELETE, POST, OPTIONS";
  uploadPreface.openapi(
    createRoute({
      method: "options",
      path,
      tags: ["Resumable uploads"],
      summary: "What of tus, and of the IETF draft, is spoken here",
      responses: { 204: { description: "In the headers `Tus-…`, `Upload-Limit` and `Accept-Patch`." } },
    }),
    (c) => {
      const { maxBytes } = readFileSettings(c.env);
      return c.body(null, 204, {
        ...tusOptions(maxBytes),
        "Upload-Limit": uploadLimit(maxBytes),
        "Accept-Patch": `application/offset+octet-stream, ${PARTIAL_UPLOAD}`,
        Allow: methods,
      });
    },
  );
}

const uploadParams = z.object({ id: z.string() });
const tags = ["Resumable uploads"];
const PROTOCOLS =
  "With `Tus-Resumable: 1.0.0` this speaks [tus](https://tus.io/protocols/resumable-upload); else the IETF draft " +
  "[Resumable Uploads for HTTP](https://datatracker.ietf.org/doc/draft-ietf-httpbis-resumable-upload/), in the " +
  "version that `Upload-Draft-Interop-Version` says (3 to 8).";

const CHUNK_PROBLEMS = {
  400: "A header is malformed or missing, a digest is another one, or the body broke off.",
  404: "No such upload.",
  409: "At another offset; or another request has taken over.",
  412: "Another version of tus.",
  413: "Longer than MAX_FILE_BYTES, or than the upload.",
  415: "Bytes of another media type.",
  460: "The checksum of the chunk is another one (tus).",
};

uploadRoutes.openapi(
  createRoute({
    method: "post",
    path: "/uploads",
    tags,
    summary: "Begin a resumable upload",
    description: `${PROTOCOLS}\n\nThe upload \`/uploads/{id}\` becomes the file \`/files/{id}\`.`,
    ...needs("write"),
    request: { query: uploadQuerySchema, body: { content: BYTES } },
    responses: {
      201: { description: "Begun, and perhaps complete: `Location` has its URL." },
      ...problems(CHUNK_PROBLEMS),
    },
  }),
  async (c) => {
    checkMethodOverride(c, "POST");
    return protocolOf(c).create(toCall(c));
  },
);

const uploadStatus = z
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

uploadRoutes.openapi(
  createRoute({
    method: "get",
    path: "/uploads/{id}",
    tags,
    summary: "How far an upload is",
    description: `\`HEAD\` is what clients resume with. It stops a request that is still adding to the upload.\n\n${PROTOCOLS}`,
    ...needs("write"),
    request: { params: uploadParams },
    responses: {
      200: json("The upload; `Upload-Offset` says where to go on.", uploadStatus),
      204: { description: "The same, to HEAD of the IETF draft." },
      ...problems({ 400: CHUNK_PROBLEMS[400], 404: CHUNK_PROBLEMS[404], 412: CHUNK_PROBLEMS[412] }),
    },
  }),
  async (c) => dispatch(c, c.req.valid("param").id),
);

uploadRoutes.openapi(
  createRoute({
    method: "patch",
    path: "/uploads/{id}",
    tags,
    summary: "Add bytes to an upload",
    description: PROTOCOLS,
    ...needs("write"),
    request: { params: uploadParams, body: { content: BYTES } },
    responses: {
      200: { description: "Complete (IETF draft, from version 7)." },
      201: { description: "Added, or complete (IETF draft, up to version 6)." },
      204: { description: "Added." },
      ...problems(CHUNK_PROBLEMS),
    },
  }),
  async (c) => dispatch(c, c.req.valid("param").id),
);

uploadRoutes.openapi(
  createRoute({
    method: "delete",
    path: "/uploads/{id}",
    tags,
    summary: "Cancel an upload",
    description: "In tus, also removes the file that a complete upload has become.",
    ...needs("write"),
    request: { params: uploadParams },
    responses: {
      204: { description: "It is gone." },
      ...problems({ 400: CHUNK_PROBLEMS[400], 404: CHUNK_PROBLEMS[404], 412: CHUNK_PROBLEMS[412] }),
    },
  }),
  async (c) => dispatch(c, c.req.valid("param").id),
);

uploadRoutes.openapi(
  createRoute({
    method: "post",
    path: "/uploads/{id}",
    tags,
    summary: "PATCH, DELETE or HEAD, for clients that cannot send those",
    description: "The method is in `X-HTTP-Method-Override` (tus).",
    ...needs("write"),
    request: { params: uploadParams, body: { content: BYTES } },
    responses: {
      201: { description: "As PATCH." },
      204: { description: "As PATCH or DELETE." },
      ...problems({ ...CHUNK_PROBLEMS, 405: "Another method, or none." }),
    },
  }),
  async (c) => dispatch(c, c.req.valid("param").id),
);

/** tus: the method that X-HTTP-Method-Override says is the one that counts. */
async function dispatch(c: Context<AppEnv>, id: string): Promise<Response> {
  switch (c.req.header("X-HTTP-Method-Override")?.toUpperCase() ?? c.req.method) {
    case "PATCH":
      return append(c, id);
    case "DELETE":
      return remove(c, id);
    case "HEAD":
    case "GET":
      return describe(c, id);
    default:
      throw new Problem("method-not-allowed", "Say PATCH, DELETE or HEAD in X-HTTP-Method-Override.", {
        headers: { Allow: "GET, HEAD, PATCH, DELETE, POST, OPTIONS" },
      });
  }
}

async function describe(c: Context<AppEnv>, id: string): Promise<Response> {
  const [protocol, call] = [protocolOf(c), toCall(c)];
  protocol.check(call);
  const now = await call.status(checkId(id));
  const headers = protocol.describe(call, now);
  if (c.req.method !== "GET") return new Response(null, { status: protocol === tus ? 200 : 204, headers });
  const { offset, length, phase, filename, contentType, expiresAtMs } = now;
  const expiresAt = new Date(expiresAtMs).toISOString();
  const isComplete = phase === "complete";
  return Response.json({ id, offset, length, isComplete, filename, contentType, expiresAt }, { headers });
}

async function append(c: Context<AppEnv>, id: string): Promise<Response> {
  return protocolOf(c).append(toCall(c), checkId(id));
}

async function remove(c: Context<AppEnv>, id: string): Promise<Response> {
  const [protocol, call] = [protocolOf(c), toCall(c)];
  protocol.check(call);
  await call.remove(checkId(id), protocol.removesFile);
  return new Response(null, { status: 204 });
}

const toCall = (c: Context<AppEnv>) => new UploadCall(c.env, c.executionCtx, c.req.raw);

const protocolOf = (c: Context<AppEnv>): Protocol => (speaksTus(c.req.raw.headers) ? tus : ietf);

/** Of an id that cannot be there is no upload, and no object is to be woken to say so. */
function checkId(id: string): string {
  if (uploadIdSchema.safeParse(id).success) return id;
  throw new Problem("not-found", `There is no upload ${id}.`);
}

function checkMethodOverride(c: Context<AppEnv>, method: string): void {
  const override = c.req.header("X-HTTP-Method-Override")?.toUpperCase();
  if (override === undefined || override === method) return;
  throw new Problem("method-not-allowed", `${override} is not possible here; these are: POST, OPTIONS.`, {
    headers: { Allow: "POST, OPTIONS" },
  });
}
