/** `/uploads`: resumable uploads in tus and in the IETF draft, on the same resources. Headers select the protocol. */

import type { Context, MiddlewareHandler } from "hono";
import { createRouter } from "../../kernel/app.ts";
import type { AppEnv } from "../../kernel/app-env.ts";
import { Problem } from "../../kernel/problem.ts";
import { readFileSettings } from "../store/settings.ts";
import { ietf, PARTIAL_UPLOAD, uploadLimit } from "./ietf.ts";
import {
  appendToUploadRoute,
  createUploadRoute,
  deleteUploadRoute,
  getUploadRoute,
  overrideMethodRoute,
  uploadOptionsRoute,
  uploadsOptionsRoute,
} from "./openapi.ts";
import type { Protocol } from "./protocol.ts";
import { speaksTus, TUS_MEDIA_TYPE, TUS_VERSION, tus, tusOptions } from "./tus.ts";
import { UploadRequest } from "./upload-request.ts";
import { uploadIdSchema } from "./upload-spec.ts";

const COLLECTION_METHODS = "POST, OPTIONS";
const UPLOAD_METHODS = "GET, HEAD, PATCH, DELETE, POST, OPTIONS";

/** tus requires its version in every response, errors included; a client of the draft must not see it. */
const addTusVersion: MiddlewareHandler<AppEnv> = async (c, next) => {
  await next();
  if (speaksTus(c.req.raw.headers)) c.header("Tus-Resumable", TUS_VERSION);
};

const openRouter = createRouter();
openRouter.use("/uploads", addTusVersion);
openRouter.use("/uploads/:id", addTusVersion);
/** Open to everyone, and mounted before access is checked. */
export const uploadOptionsRoutes = openRouter
  .openapi(uploadsOptionsRoute, (c) => c.body(null, 204, capabilities(c.env, COLLECTION_METHODS)))
  .openapi(uploadOptionsRoute, (c) => c.body(null, 204, capabilities(c.env, UPLOAD_METHODS)));

export const uploadRoutes = createRouter()
  .openapi(createUploadRoute, async (c) => {
    rejectMethodOverride(c);
    return protocolOf(c).create(toRequest(c));
  })
  .openapi(getUploadRoute, async (c) => dispatch(c, c.req.valid("param").id))
  .openapi(appendToUploadRoute, async (c) => dispatch(c, c.req.valid("param").id))
  .openapi(deleteUploadRoute, async (c) => dispatch(c, c.req.valid("param").id))
  .openapi(overrideMethodRoute, async (c) => dispatch(c, c.req.valid("param").id));

function capabilities(env: Env, methods: string): Record<string, string> {
  const { maxBytes } = readFileSettings(env);
  return {
    ...tusOptions(maxBytes),
    "Upload-Limit": uploadLimit(maxBytes),
    "Accept-Patch": `${TUS_MEDIA_TYPE}, ${PARTIAL_UPLOAD}`,
    Allow: methods,
  };
}

/** tus: the method in X-HTTP-Method-Override is the one that counts. */
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
      throw new Problem("method-not-allowed", "Send PATCH, DELETE or HEAD in X-HTTP-Method-Override.", {
        headers: { Allow: UPLOAD_METHODS },
      });
  }
}

async function describe(c: Context<AppEnv>, id: string): Promise<Response> {
  const [protocol, request] = [protocolOf(c), toRequest(c)];
  protocol.check(request);
  const upload = await request.status(checkId(id));
  const headers = protocol.describe(request, upload);
  if (c.req.method !== "GET") return new Response(null, { status: protocol === tus ? 200 : 204, headers });
  const { offset, length, phase, filename, contentType, expiresAtMs } = upload;
  const expiresAt = new Date(expiresAtMs).toISOString();
  const isComplete = phase === "complete";
  return Response.json({ id, offset, length, isComplete, filename, contentType, expiresAt }, { headers });
}

async function append(c: Context<AppEnv>, id: string): Promise<Response> {
  return protocolOf(c).append(toRequest(c), checkId(id));
}

async function remove(c: Context<AppEnv>, id: string): Promise<Response> {
  const [protocol, request] = [protocolOf(c), toRequest(c)];
  protocol.check(request);
  await request.remove(checkId(id), protocol.removesFile);
  return new Response(null, { status: 204 });
}

const toRequest = (c: Context<AppEnv>) => new UploadRequest(c.env, c.executionCtx, c.req.raw);

const protocolOf = (c: Context<AppEnv>): Protocol => (speaksTus(c.req.raw.headers) ? tus : ietf);

/** An id that is not a valid one cannot have an upload, and no object needs to be woken to find that out. */
function checkId(id: string): string {
  if (uploadIdSchema.safeParse(id).success) return id;
  throw new Problem("not-found", `There is no upload ${id}.`);
}

/** POST to the collection only creates. */
function rejectMethodOverride(c: Context<AppEnv>): void {
  const override = c.req.header("X-HTTP-Method-Override")?.toUpperCase();
  if (override === undefined || override === "POST") return;
  throw new Problem(
    "method-not-allowed",
    `${override} is not allowed here; use one of: ${COLLECTION_METHODS}.`,
    {
      headers: { Allow: COLLECTION_METHODS },
    },
  );
}
