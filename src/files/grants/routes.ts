/** `/uploads/grants`: to make, look at and revoke grants with a token, and to upload with a grant and no token. */
import type { Context, MiddlewareHandler } from "hono";
import { createRouter } from "../../kernel/app.ts";
import type { AppEnv } from "../../kernel/app-env.ts";
import { EXPOSED_HEADERS } from "../../kernel/cors.ts";
import { Problem } from "../../kernel/problem.ts";
import { actOnUpload, addTusVersion, capabilities, createUpload } from "../resumable/routes.ts";
import { throwNotFound, UploadRequest } from "../resumable/upload-request.ts";
import { essenceOf } from "../store/media-type.ts";
import type { StoredFile } from "../store/schema.ts";
import { readFileSettings } from "../store/settings.ts";
import { callCatalogue, catalogueOf } from "../store/shards.ts";
import { checkTask } from "../store/upload-task.ts";
import {
  type GrantTerms,
  grantedFileId,
  grantedQuery,
  grantRefused,
  type Uploader,
} from "../store/uploader.ts";
import { uploadBody, uploadForm } from "../upload/upload.ts";
import { readGrant, readLiveGrant, signGrant } from "./grant.ts";
import {
  appendGrantedRoute,
  createGrantRoute,
  deleteGrantedRoute,
  getGrantRoute,
  headGrantedRoute,
  optionsGrantedRoute,
  optionsGrantRoute,
  overrideGrantedRoute,
  putNamedWithGrantRoute,
  putWithGrantRoute,
  revokeGrantRoute,
  uploadWithGrantRoute,
} from "./openapi.ts";

const METHODS = "POST, PUT, PATCH, HEAD, DELETE, OPTIONS";

const urlOf = (id: string, base: string) => new URL(`/uploads/grants/${id}`, base).href;

/** Routes that need a token. */
export const grantRoutes = createRouter()
  .openapi(createGrantRoute, async (c) => {
    const request = c.req.valid("json");
    await checkTask(request.task);
    const id = signGrant(c.env, request, Date.now());
    const url = urlOf(id, c.req.url);
    return c.json(describe(id, readGrant(c.env, id), url), 201, { Location: url });
  })
  .openapi(getGrantRoute, async (c) => {
    const { id } = c.req.valid("param");
    const terms = readGrant(c.env, id);
    const { stored, held, isRevoked } = await useOf(c.env, terms);
    const grant = describe(id, terms, urlOf(id, c.req.url));
    return c.json({ ...grant, stored, underWay: held.length, isRevoked }, 200, {
      "Cache-Control": "no-store",
    });
  })
  .openapi(revokeGrantRoute, async (c) => {
    const { id, files, expiresAtMs } = readGrant(c.env, c.req.valid("param").id);
    await callCatalogue(async () => catalogueOf(c.env, id).revokeGrant({ id, files, expiresAtMs }));
    return c.body(null, 204);
  });

function describe(id: string, terms: GrantTerms, url: string) {
  const { maxBytes, contentTypes, files, prefix, task, metadata, expiresAtMs } = terms;
  const expiresAt = new Date(expiresAtMs).toISOString();
  const owner = ownerOf(terms);
  return { id, url, owner, maxBytes, contentTypes, files, prefix, task, metadata, expiresAt };
}

const ownerOf = ({ name, id }: GrantTerms) => `grant:${name ?? id}`;

const useOf = async (env: Env, { id }: GrantTerms) =>
  callCatalogue(async () => catalogueOf(env, id).grantUse(id));

/** Pages of every site may use a grant: who has its URL needs nothing else, and no credentials are read. */
const allowAllSites: MiddlewareHandler<AppEnv> = async (c, next) => {
  await next();
  c.header("Access-Control-Allow-Origin", "*");
  c.header("Access-Control-Expose-Headers", EXPOSED_HEADERS.join(","));
  if (c.req.method !== "OPTIONS") return;
  c.header("Access-Control-Allow-Methods", METHODS);
  const wanted = c.req.header("Access-Control-Request-Headers");
  if (wanted !== undefined) c.header("Access-Control-Allow-Headers", wanted);
  c.header("Access-Control-Max-Age", "7200");
};

const openRouter = createRouter();
for (const path of ["/uploads/grants/:id", "/uploads/grants/:id/:upload"]) {
  openRouter.use(path, async (c, next) => (isForHolder(c) ? allowAllSites(c, next) : next()), addTusVersion);
}

/** To look at a grant and to revoke it, a token is needed. */
const isForHolder = (c: Context<AppEnv>) =>
  c.req.param("upload") !== undefined || !["GET", "HEAD", "DELETE"].includes(c.req.method);

/** Open to everyone who has a grant. */
export const grantedRoutes = openRouter
  .openapi(optionsGrantRoute, (c) => c.body(null, 200, capabilitiesOf(c)))
  .openapi(optionsGrantedRoute, (c) => c.body(null, 200, capabilitiesOf(c)))
  .openapi(uploadWithGrantRoute, async (c) => {
    const uploader = await findUploader(c);
    if (essenceOf(c.req.header("Content-Type") ?? "") !== "multipart/form-data") {
      return createUpload(requestOf(c, uploader));
    }
    const query = grantedQuery(uploader.terms, c.req.query());
    const rules = { checkFile: () => {}, checkField: () => {}, checkCount: requireFile };
    const upload = uploadForm(c.env, c.req.raw, query, rules, uploader);
    c.executionCtx.waitUntil(Promise.allSettled([upload]));
    const result = await upload;
    return c.json(result, result.files.some(({ isHeld }) => isHeld) ? 202 : 201);
  })
  .openapi(putWithGrantRoute, async (c) => {
    const file = await put(c, c.req.raw);
    return c.json(file, file.isHeld ? 202 : 201);
  })
  .openapi(putNamedWithGrantRoute, async (c) => {
    const request = new Request(c.req.raw);
    const name = encodeURIComponent(c.req.valid("param").upload).replaceAll("'", "%27");
    if (!request.headers.has("Content-Disposition"))
      request.headers.set("Content-Disposition", `attachment; filename*=UTF-8''${name}`);
    const file = await put(c, request);
    return c.json(file, file.isHeld ? 202 : 201);
  })
  .openapi(headGrantedRoute, async (c) => act(c, c.req.valid("param").upload, "HEAD"))
  .openapi(appendGrantedRoute, async (c) => act(c, c.req.valid("param").upload))
  .openapi(deleteGrantedRoute, async (c) => act(c, c.req.valid("param").upload))
  .openapi(overrideGrantedRoute, async (c) => act(c, c.req.valid("param").upload));

function capabilitiesOf(c: Context<AppEnv>): Record<string, string> {
  const { maxBytes } = termsOf(c);
  const settings = readFileSettings(c.env);
  return capabilities(c.env, METHODS, { ...settings, maxBytes: Math.min(maxBytes, settings.maxBytes) });
}

/** The terms of a grant, under whose name the request acts from now on. */
function termsOf(c: Context<AppEnv>): GrantTerms {
  const terms = readLiveGrant(c.env, c.req.param("id") ?? "", Date.now());
  c.set("principal", { name: ownerOf(terms), scopes: [] });
  return terms;
}

type Holder = Uploader & { terms: GrantTerms };

/**
 * Who uploads a file. Throws a `Problem` 403 or 409 if the grant allows no more, before any byte is read. When the file
 * becomes visible, it is counted once more: another upload may have been faster.
 */
async function findUploader(c: Context<AppEnv>): Promise<Holder> {
  const terms = termsOf(c);
  const { stored, held, isRevoked } = await useOf(c.env, terms);
  if (isRevoked) throw grantRefused("revoked");
  if (stored + held.length >= terms.files) throw grantRefused("used-up");
  return { owner: ownerOf(terms), terms };
}

const requestOf = (c: Context<AppEnv>, uploader: Holder, id?: string) =>
  new UploadRequest(
    c.env,
    c.executionCtx,
    c.req.raw,
    uploader,
    id,
    urlOf(c.req.param("id") ?? "", c.req.url),
  );

async function put(c: Context<AppEnv>, request: Request): Promise<StoredFile> {
  const uploader = await findUploader(c);
  const query = grantedQuery(uploader.terms, c.req.query());
  const upload = uploadBody(c.env, request, grantedFileId(uploader.terms), query, uploader);
  // If the client disconnects, this handler ends, but what it leaves behind must still be removed.
  c.executionCtx.waitUntil(Promise.allSettled([upload]));
  return (await upload).file;
}

function requireFile(count: number): void {
  if (count > 0) return;
  const detail = "There is no file in the form.";
  throw new Problem("invalid", detail, { errors: [{ at: "form", detail }] });
}

/** A request to an upload that was created with this grant. */
async function act(c: Context<AppEnv>, id: string, method?: string): Promise<Response> {
  const terms = termsOf(c);
  const request = requestOf(c, { owner: ownerOf(terms), terms }, id);
  const [upload, { isRevoked }] = await Promise.all([request.peek(id), useOf(c.env, terms)]);
  if (upload?.grantId !== terms.id) throwNotFound(id);
  if (isRevoked) throw grantRefused("revoked");
  return actOnUpload(c, request, id, method);
}
