/** The upstreams that the variables name: whom this Worker may call, and how hard. */
import { z } from "zod";
import { ConfigurationError, perEnv, readVariable } from "../kernel/variables.ts";
import { embeddedUpstreams } from "./demo.ts";

const exactOrigin = z.string().refine(isExactOrigin, {
  message: "must be exactly scheme, host and port, like https://api.example.com (http only for localhost)",
});

const upstreamSchema = z
  .strictObject({
    origin: exactOrigin.optional(),
    entrypoint: z
      .string()
      .refine((name) => embeddedUpstreams.has(name), {
        message: "is not an embedded upstream (src/outbound/demo.ts)",
      })
      .optional(),
    concurrency: z.int().min(1).max(1000).default(5),
    timeout_ms: z.int().min(1).max(300_000).default(5_000),
    max_waiters: z.int().min(0).max(100_000).default(1_000),
    max_wait_ms: z.int().min(0).max(300_000).default(30_000),
  })
  .refine((u) => (u.origin === undefined) !== (u.entrypoint === undefined), {
    message: "needs either an origin or an entrypoint, and not both",
  });

const upstreamsSchema = z.record(z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/), upstreamSchema);

/** One upstream. Exactly one of `origin` and `entrypoint` is there. */
export interface Upstream {
  name: string;
  origin?: string;
  entrypoint?: string;
  /** Calls in flight at once, over the whole fleet. */
  concurrency: number;
  /** From the permit to the last byte of the answer. */
  timeoutMs: number;
  maxWaiters: number;
  maxWaitMs: number;
}

export const readUpstreams = perEnv((env): ReadonlyMap<string, Upstream> => {
  const configured = readVariable(env, "UPSTREAMS", upstreamsSchema);
  return new Map(
    Object.entries(configured).map(([name, u]) => [
      name,
      {
        name,
        ...(u.origin === undefined ? {} : { origin: u.origin }),
        ...(u.entrypoint === undefined ? {} : { entrypoint: u.entrypoint }),
        concurrency: u.concurrency,
        timeoutMs: u.timeout_ms,
        maxWaiters: u.max_waiters,
        maxWaitMs: u.max_wait_ms,
      },
    ]),
  );
});

/** What `GET /data` reads. */
export const readDataSource = perEnv((env): { upstream: Upstream; path: string } => {
  const name = readVariable(env, "DATA_UPSTREAM", z.string());
  const path = readVariable(env, "DATA_PATH", z.string().regex(/^\/(?![/\\])/, "must begin with one slash"));
  const upstream = readUpstreams(env).get(name);
  if (!upstream) throw new ConfigurationError("The variable DATA_UPSTREAM must name one of UPSTREAMS.");
  return { upstream, path };
});

function isExactOrigin(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  const loopback = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname);
  return url.origin === text && (url.protocol === "https:" || (url.protocol === "http:" && loopback));
}
