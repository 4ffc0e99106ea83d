/** `/held-files`: files that wait to be checked, or whose check has failed, for an admin who decides. */
import { createRoute, z } from "@hono/zod-openapi";
import { createRouter, json, needs, problems } from "../../kernel/app.ts";
import { Problem } from "../../kernel/problem.ts";
import { cursorParam, pageSize } from "../../kernel/query.ts";
import { checkedFile, heldFileSchema } from "../store/checks.ts";
import { decideHeldFile, type HeldRef, listHeldFiles } from "../store/held.ts";
import { HELD_MS } from "../store/held-files.ts";

const tags = ["Held files"];
const params = heldFileSchema.pick({ fileId: true, version: true });
const listed = heldFileSchema
  .extend({
    heldAt: z.iso.datetime(),
    removedAt: z.iso.datetime().meta({ description: "It is removed then, if nobody decides." }),
    checkTaskId: z
      .string()
      .nullable()
      .meta({ description: "The task that checks it; null: it could not be started." }),
  })
  .meta({ id: "HeldFile" });

const listRoute = createRoute({
  method: "get",
  path: "/held-files",
  operationId: "listHeldFiles",
  tags,
  summary: "List files that nobody sees yet",
  description: "Newest first: those that are being checked, and those whose check has failed.",
  ...needs("admin"),
  request: { query: z.object({ limit: pageSize(1000, 100), cursor: cursorParam() }) },
  responses: {
    200: json(
      "A page of them.",
      z.object({ files: z.array(listed), next: z.string().nullable() }).meta({ id: "HeldFileList" }),
    ),
    ...problems({ 422: "A query parameter is invalid." }),
  },
});

const decided = problems({
  404: "There is no such file, or it is held no longer.",
  422: "The id or version is invalid.",
});

const publishRoute = createRoute({
  method: "post",
  path: "/held-files/{fileId}/{version}",
  operationId: "publishHeldFile",
  tags,
  summary: "Publish a file that is held, whatever its check says",
  ...needs("admin"),
  request: { params },
  responses: {
    204: { description: "It is a file now, and its task has started." },
    ...decided,
    ...problems({
      412: "The upload was conditional, and its condition no longer holds. The bytes are removed.",
    }),
  },
});

const refuseRoute = createRoute({
  method: "delete",
  path: "/held-files/{fileId}/{version}",
  operationId: "removeHeldFile",
  tags,
  summary: "Remove a file that is held",
  ...needs("admin"),
  request: { params },
  responses: { 204: { description: "It is removed." }, ...decided },
});

export const heldRoutes = createRouter()
  .openapi(listRoute, async (c) => {
    const { limit, cursor } = c.req.valid("query");
    const { held, next } = await listHeldFiles(c.env, limit, cursor);
    const files = held.map((one) => ({
      ...checkedFile(one),
      heldAt: new Date(one.heldAtMs).toISOString(),
      removedAt: new Date(one.heldAtMs + HELD_MS).toISOString(),
      checkTaskId: one.checkTaskId,
    }));
    return c.json({ files, next }, 200, { "Cache-Control": "no-store" });
  })
  .openapi(publishRoute, async (c) => {
    const ref = c.req.valid("param");
    const { is } = await decideHeldFile(c.env, ref, { accepted: true });
    if (is === "refused")
      throw new Problem(
        "precondition-failed",
        `The file ${ref.fileId} has changed, against what the upload required.`,
      );
    if (is === "gone") throw notHeld(ref);
    return c.body(null, 204);
  })
  .openapi(refuseRoute, async (c) => {
    const ref = c.req.valid("param");
    const { is } = await decideHeldFile(c.env, ref, { accepted: false, reason: "removed by hand" });
    if (is !== "refused") throw notHeld(ref);
    return c.body(null, 204);
  });

const notHeld = ({ fileId, version }: HeldRef) =>
  new Problem("not-found", `There is no version ${version} of the file ${fileId} that is held.`);
