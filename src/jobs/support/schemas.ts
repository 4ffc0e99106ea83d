/** What several inputs contain. Each is checked when a task is submitted. */
import { env } from "cloudflare:workers";
import { z } from "zod";
import { fileIdSchema } from "../../files/index.ts";
import { readUpstreams } from "../../outbound/index.ts";

/** Whether there is such a file is known when the task runs: it may be stored until then. */
export const fileId = fileIdSchema.meta({ description: "The id of a stored file.", example: "hello.txt" });

/** The name of an upstream that is configured here. */
export const upstreamName = z
  .string()
  .refine((name) => readUpstreams(env).has(name), {
    error: () => {
      const names = [...readUpstreams(env).keys()];
      return names.length === 0
        ? "there is no upstream: name one in UPSTREAMS (wrangler.toml)"
        : `there is no upstream of this name; these are configured: ${names.join(", ")}`;
    },
  })
  .meta({ description: "The name of an upstream (GET /upstreams).", example: "demo" });
