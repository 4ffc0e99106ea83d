/** `GET /quotas`: what the quotas allow, and how much of each is used. */
import { createRoute, z } from "@hono/zod-openapi";
import { readByteQuotaUse } from "../../files/index.ts";
import { createRouter, json, needs, problems } from "../../kernel/app.ts";

const quotaSchema = z
  .object({
    token: z.string().nullable().meta({ description: "The name of the token; null: all callers together." }),
    storedBytes: z.object({
      limit: z.int(),
      used: z
        .int()
        .meta({ description: "Of files, and of uploads under way, which hold what they may need." }),
      remaining: z
        .int()
        .meta({ description: "0 if more is used than the quota allows since it was lowered." }),
    }),
  })
  .meta({ id: "Quota" });

const route = createRoute({
  operationId: "getQuotas",
  method: "get",
  path: "/quotas",
  tags: ["Service"],
  summary: "What the quotas allow, and how much is used",
  description:
    "A token with the scope `admin` sees the quotas of all; any other sees its own. Empty without quotas.",
  ...needs("read"),
  responses: {
    200: json("The quotas.", z.object({ quotas: z.array(quotaSchema) })),
    ...problems({ 503: "The objects that keep the files do not respond. With Retry-After." }),
  },
});

export const quotaRoutes = createRouter().openapi(route, async (c) => {
  const { name, scopes } = c.get("principal");
  const isMeant = (token: string | null) => scopes.includes("admin") || token === name;
  const uses = await readByteQuotaUse(c.env, isMeant);
  const quotas = uses.map(({ token, limit, used }) => ({
    token,
    storedBytes: { limit, used, remaining: Math.max(0, limit - used) },
  }));
  return c.json({ quotas }, 200, { "Cache-Control": "no-store" });
});
