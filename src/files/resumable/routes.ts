/** `/uploads`: resumable uploads in tus and in the IETF draft, on the same resources. Headers select the protocol. */

import type { Context, MiddlewareHandler } from "hono";
import { requireScopeWithin } from "../../kernel/access.ts";
import { createRouter } from "../../kernel/app.ts";
import type { AppEnv } from "../../kernel/app-env.ts";
import { Problem } from "../../kernel/problem.ts";
import { readFileSettings } from "../store/settings.ts";
import { PARTIAL_UPLOAD, uploadLimit } from "./ietf-fields.ts";
import { protocolNamed, spokenProtocol } from "./negotiation.ts";
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
import type { Snapshot } from "./snapshot.ts";
import { TUS_MEDIA_TYPE, TUS_VERSION, tus, tusOptions } from "./tus.ts";
import { throwNotFound, UploadRequest } from "./upload-request.ts";
import { uploadIdSchema } from "./upload-spec.ts";

/** Responds to a GET with the file that an upload has become, as `GET /files/{id}` does. */
export type ServeFile = (c: Context<AppEnv>, id: string, isInline: boolean) => Promise<Response>;

const COLLECTION_METHODS = "POST, OPTIONS";
const UPLOAD_METHODS = "GET, HEAD, PATCH, DELETE, POST, OPTIONS";

/** tus requires its version in every response, errors included; a client of the draft must not see it. */
export const addTusVersion: MiddlewareHandler<AppEnv> = async (c, next) => {
  await next();
  if (spokenProtocol(c.req.raw.headers) === tus) c.header("Tus-Resumable", TUS_VERSION);
};

const openRouter = createRouter();
openRouter.use("/uploads", addTusVersion);
openRouter.use("/uploads/:id", addTusVersion);
/** Open to everyone, and mounted before access is checked. The status is 200, the only one that many tus clients take. */
export const uploadOptionsRoutes = openRouter
  .openapi(uploadsOptionsRoute, (c) => c.body(null, 200, capabilities(c.env, COLLECTION_METHODS)))
  .openapi(uploadOptionsRoute, (c) => c.body(null, 200, capabilities(c.env, UPLOAD_METHODS)));

export const createUploadRoutes = (serveFile: ServeFile) =>
  createRouter()
    .openapi(createUploadRoute, async (c) => {
      rejectMethodOverride(c);
      return createUpload(toRequest(c));
    })
    .openapi(getUploadRoute, async (c) => {
      const { id } = c.req.valid("param");
      if (c.req.method === "HEAD") return dispatch(c, id);
      return get(c, id, async () => serveFile(c, id, c.req.valid("query").disposition === "inline"));
    })
    .openapi(appendToUploadRoute, async (c) => dispatch(c, c.req.valid("param").id))
    .openapi(deleteUploadRoute, async (c) => dispatch(c, c.req.valid("param").id))
    .openapi(overrideMethodRoute, async (c) => dispatch(c, c.req.valid("param").id));

export function capabilities(
  env: Env,
  methods: string,
  settings = readFileSettings(env),
): Record<string, string> {
  return {
    ...tusOptions(settings.maxBytes),
    "Upload-Limit": uploadLimit(settings),
    "Accept-Patch": `${TUS_MEDIA_TYPE}, ${PARTIAL_UPLOAD}`,
    Allow: methods,
  };
}

/** The response to the creation of an upload. */
export async function createUpload(request: UploadRequest): Promise<Response> {
  const protocol = spokenProtocol(request.headers) ?? protocolNamed("ietf");
  return addingState(protocol, request, undefined, async () => protocol.create(request));
}

async function dispatch(c: Context<AppEnv>, id: string): Promise<Response> {
  checkId(id);
  const request = toRequest(c);
  await request.checkBounds(id);
  return actOnUpload(c, request, id);
}

/** tus: the method in X-HTTP-Method-Override is the one that counts. */
export async function actOnUpload(
  c: Context<AppEnv>,
  request: UploadRequest,
  id: string,
  asked = c.req.method,
): Promise<Response> {
  const method = c.req.header("X-HTTP-Method-Override")?.toUpperCase() ?? asked;
  const act = Object.hasOwn(ACTIONS, method) ? ACTIONS[method] : undefined;
  if (!act) {
    throw new Problem("method-not-allowed", "Send PATCH, DELETE or HEAD in X-HTTP-Method-Override.", {
      headers: { Allow: UPLOAD_METHODS },
    });
  }
  const protocol = await protocolFor(request, id);
  return addingState(protocol, request, id, async () => act(protocol, request, id));
}

type Action = (protocol: Protocol, request: UploadRequest, id: string) => Promise<Response>;

const ACTIONS: Record<string, Action> = {
  PATCH: async (protocol, request, id) => {
    await request.checkPreconditions(id);
    return protocol.append(request, id);
  },
  DELETE: async (protocol, request, id) => {
    protocol.check(request);
    await request.checkPreconditions(id);
    await request.remove(id, protocol.removesFile && !request.isGranted);
    return new Response(null, { status: 204 });
  },
  HEAD: async (protocol, request, id) => {
    protocol.check(request);
    const headers = protocol.describe(request, await request.status(id));
    return new Response(null, { status: protocol === tus ? 200 : 204, headers });
  },
};

/**
 * The file that a finished upload has become. Of one that is under way its state, as JSON; that stops a request which is
 * appending to it, as HEAD does. A browser sends no header of either protocol, so none is required.
 */
async function get(c: Context<AppEnv>, id: string, serveFile: () => Promise<Response>): Promise<Response> {
  checkId(id);
  const request = toRequest(c);
  await request.checkBounds(id);
  const stored = await request.peek(id);
  const spoken = spokenProtocol(request.headers);
  const protocol = spoken ?? protocolNamed(stored?.protocol);
  return addingState(protocol, request, id, async () => {
    spoken?.check(request);
    if (!stored) throwNotFound(id);
    const upload = isFile(stored) ? stored : await statusForWriter(c, request, id);
    const response = isFile(upload) ? await serveFile() : Response.json(toJson(upload));
    for (const [name, value] of protocol.describe(request, upload)) {
      if (!response.headers.has(name)) response.headers.set(name, value);
    }
    return response;
  });
}

async function statusForWriter(c: Context<AppEnv>, request: UploadRequest, id: string): Promise<Snapshot> {
  await requireScopeWithin("write")(c, async () => {});
  return request.status(id);
}

const isFile = ({ phase, kind }: Snapshot) => phase === "complete" && kind !== "partial";

function toJson({ id, offset, length, phase, filename, contentType, expiresAtMs }: Snapshot) {
  const expiresAt = new Date(expiresAtMs).toISOString();
  return { id, offset, length, isComplete: phase === "complete", filename, contentType, expiresAt };
}

/** A request that names no protocol gets the responses of the one in which the upload was created. */
async function protocolFor(request: UploadRequest, id: string): Promise<Protocol> {
  return spokenProtocol(request.headers) ?? protocolNamed((await request.peek(id))?.protocol);
}

/** Adds the state of the upload to whatever rejects the request, unless it has it already. */
async function addingState(
  protocol: Protocol,
  request: UploadRequest,
  id: string | undefined,
  act: () => Promise<Response>,
): Promise<Response> {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const { kind, detail, options } = error;
    const isKnown =
      id === undefined ||
      kind === "not-found" ||
      kind === "catalogue-unavailable" || // it must not be called again, and would not say it
      options.headers?.["Upload-Offset"] !== undefined;
    const state = protocol.stateOf(request, isKnown ? undefined : await request.peek(id));
    throw new Problem(kind, detail, { ...options, headers: { ...state, ...options.headers } });
  }
}

const toRequest = (c: Context<AppEnv>) => {
  const { name, bounds } = c.get("principal");
  const uploader = { owner: name, terms: null, bounds };
  return new UploadRequest(c.env, c.executionCtx, c.req.raw, uploader, c.req.param("id"));
};

/** An id that is not a valid one cannot have an upload, and no object needs to be woken to find that out. */
function checkId(id: string): void {
  if (uploadIdSchema.safeParse(id).success) return;
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
