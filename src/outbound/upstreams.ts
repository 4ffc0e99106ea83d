/** The upstreams in the configuration: which APIs this Worker may call, how, and how hard. */
import { z } from "zod";
import { LOCATION_HINTS, type Region } from "../kernel/regions.ts";
import { badSecret } from "../kernel/secrets.ts";
import { ConfigurationError, perEnv, readVariable } from "../kernel/variables.ts";
import { embeddedUpstreams } from "./demo.ts";
import { type BadSecret, fillSecrets, HEADER_VALUE } from "./header-secrets.ts";
import { isReservedInRequests, isReservedInResponses } from "./reserved-headers.ts";

export const METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"] as const;
/** They ask for no change (RFC 9110 §9.2.1). */
export const SAFE_METHODS: readonly string[] = ["GET", "HEAD", "OPTIONS"];
type Method = (typeof METHODS)[number];

const HEADER_NAME = /^[\w-]+$/;

const exactOrigin = z.string().refine(isExactOrigin, {
  message: "must be exactly scheme, host and port, like https://api.example.com (http only for localhost)",
});

const rateSchema = z.strictObject({
  // With less, the next call would be due centuries from now.
  per_second: z
    .number()
    .min(0.000_01)
    .max(100_000)
    .meta({ description: "Calls begun per second, on average." }),
  // Not `.default(1)`: generated clients would have to send it.
  burst: z.int().min(1).max(100_000).optional().meta({ description: "Calls begun at once. Default: 1." }),
});

/** Names of headers, which become lower case. */
const headerNames = (isReserved: (name: string) => boolean) =>
  z
    .array(
      z
        .string()
        .regex(HEADER_NAME, "is not the name of a header")
        .toLowerCase()
        .refine((name) => !isReserved(name), {
          message:
            "is set by Sluice itself, or names another method, path, host or client, or governs an origin",
        }),
    )
    .default([]);

export const concurrencySchema = z.int().min(1).max(1000);

const upstreamSchema = z
  .strictObject({
    origin: exactOrigin.optional(),
    service: z.string().min(1).optional(),
    entrypoint: z
      .string()
      .refine((name) => embeddedUpstreams.has(name), {
        message: "is not an embedded upstream (src/outbound/demo.ts)",
      })
      .optional(),
    concurrency: concurrencySchema.default(5),
    rate: rateSchema.optional(),
    adaptive: z.boolean().default(false),
    timeout_ms: z.int().min(1).max(300_000).default(5_000),
    max_waiters: z.int().min(0).max(100_000).default(1_000),
    max_wait_ms: z.int().min(0).max(300_000).default(30_000),
    methods: z.array(z.enum(METHODS)).min(1).default(["GET", "HEAD"]),
    path_prefixes: z
      .array(z.string().regex(/^\/([^%\\?#]*\/)?$/, "must begin and end with /"))
      .min(1)
      .default(["/"]),
    headers: z
      .record(z.string().regex(HEADER_NAME), z.string().regex(HEADER_VALUE, "is not a valid header value"))
      .default({}),
    websocket: z.boolean().default(false),
    request_headers: headerNames(isReservedInRequests),
    response_headers: headerNames(isReservedInResponses),
    encoded_slashes: z.boolean().default(false),
    redirect_origins: z.array(exactOrigin).default([]),
    cache_seconds: z.int().min(0).max(31_536_000).optional(),
    retries: z.int().min(0).max(5).default(2),
    max_response_bytes: z
      .int()
      .min(1)
      .default(100 * 1024 * 1024),
    location_hint: z.enum(LOCATION_HINTS).optional(),
  })
  .refine((u) => [u.origin, u.service, u.entrypoint].filter((target) => target !== undefined).length === 1, {
    message: "needs exactly one of origin, service and entrypoint",
  });
const upstreamsSchema = z.record(z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/), upstreamSchema);

/** How fast calls may begin: per second on average, and at once. */
export interface Rate {
  perSecond: number;
  burst: number;
}

/** The settings in force: the configuration, with the changes of an operator. */
export interface Settings {
  concurrency: number;
  rate: Rate | undefined;
  adaptive: boolean;
  isPaused: boolean;
  maxWaiters: number;
  maxWaitMs: number;
}

/** One upstream. wrangler.toml says what each setting means. */
export interface Upstream {
  name: string;
  target: { origin: string } | { service: string } | { entrypoint: string };
  concurrency: number;
  rate: Rate | undefined;
  adaptive: boolean;
  timeoutMs: number;
  maxWaiters: number;
  maxWaitMs: number;
  methods: readonly Method[];
  pathPrefixes: readonly string[];
  /** Set on every call, with secrets filled in. */
  headers: Readonly<Record<string, string>>;
  /** A secret that `headers` lack: there can be no call. */
  badSecret: BadSecret | undefined;
  /** Whether a GET may become a WebSocket. */
  websocket: boolean;
  /** Headers that travel besides those of every upstream, in lower case. */
  requestHeaders: readonly string[];
  responseHeaders: readonly string[];
  encodedSlashes: boolean;
  redirectOrigins: readonly string[];
  cacheSeconds: number | undefined;
  retries: number;
  maxResponseBytes: number;
  locationHint: Region | undefined;
}

/** A change that an operator asks for; null goes back to the configuration. */
export const changeSchema = z
  .strictObject({
    concurrency: concurrencySchema
      .nullable()
      .meta({ description: "Calls in flight at once, over the whole fleet." }),
    rate: rateSchema.nullable(),
    paused: z
      .boolean()
      .nullable()
      .meta({ description: "true grants no permits; false also ends a pause that the upstream asked for." }),
  })
  .partial()
  .meta({
    description: "A member that is left out stays as it is; null goes back to the configuration.",
    example: { concurrency: 5 },
  });

/** What an operator has changed; null or absent is as configured. */
export interface Override {
  concurrency?: number | null | undefined;
  rate?: Rate | null | undefined;
  paused?: boolean | null | undefined;
}

export function toOverride({ rate, ...rest }: z.output<typeof changeSchema>): Override {
  if (!rate) return rate === null ? { ...rest, rate } : rest;
  return { ...rest, rate: toRate(rate) };
}

const toRate = ({ per_second, burst = 1 }: z.output<typeof rateSchema>): Rate => ({
  perSecond: per_second,
  burst,
});

export const readUpstreams = perEnv((env): ReadonlyMap<string, Upstream> => {
  const upstreams = new Map<string, Upstream>();
  const add = (variable: string, configured: z.output<typeof upstreamsSchema>) => {
    for (const [name, raw] of Object.entries(configured)) {
      if (upstreams.has(name))
        throw new ConfigurationError(
          `The variable ${variable} has an upstream "${name}", which exists already.`,
        );
      upstreams.set(name, toUpstream(env, `${variable}.${name}`, name, raw));
    }
  };
  add("UPSTREAMS", readVariable(env, "UPSTREAMS", upstreamsSchema));
  for (const variable of Object.keys(env).filter((key) => /^UPSTREAMS_\w+$/.test(key)))
    add(variable, readVariable(env, variable, upstreamsSchema));
  return upstreams;
});

/** For the start: logs each secret that calls to some upstream lack. */
export const checkUpstreamSecrets = (env: Env): void => {
  for (const { badSecret: bad } of readUpstreams(env).values()) if (bad) badSecret(bad.name, bad.why);
};

/** What `GET /data` reads. */
export const readDataSource = perEnv((env): { upstream: Upstream; path: string } => {
  const name = readVariable(env, "DATA_UPSTREAM", z.string());
  const path = readVariable(env, "DATA_PATH", z.string().regex(/^\/(?![/\\])/, "must begin with one slash"));
  const upstream = readUpstreams(env).get(name);
  if (!upstream) throw new ConfigurationError("The variable DATA_UPSTREAM must name one of UPSTREAMS.");
  return { upstream, path };
});

/** The configuration, with the changes of an operator. */
export function settingsOf(upstream: Upstream, override: Override): Settings {
  return {
    concurrency: override.concurrency ?? upstream.concurrency,
    rate: override.rate ?? upstream.rate,
    isPaused: override.paused ?? false,
    adaptive: upstream.adaptive,
    maxWaiters: upstream.maxWaiters,
    maxWaitMs: upstream.maxWaitMs,
  };
}

function toUpstream(env: Env, at: string, name: string, raw: z.output<typeof upstreamSchema>): Upstream {
  const headers = Object.entries(raw.headers).map(([header, text]) => ({
    header,
    ...fillSecrets(env, `${at}.headers.${header}`, text),
  }));
  return {
    name,
    target: targetOf(raw),
    concurrency: raw.concurrency,
    rate: raw.rate && toRate(raw.rate),
    adaptive: raw.adaptive,
    timeoutMs: raw.timeout_ms,
    maxWaiters: raw.max_waiters,
    maxWaitMs: raw.max_wait_ms,
    methods: raw.methods,
    pathPrefixes: raw.path_prefixes,
    headers: Object.fromEntries(headers.map(({ header, value }) => [header, value])),
    badSecret: headers.find(({ bad }) => bad !== undefined)?.bad,
    websocket: raw.websocket,
    requestHeaders: raw.request_headers,
    responseHeaders: raw.response_headers,
    encodedSlashes: raw.encoded_slashes,
    redirectOrigins: raw.redirect_origins,
    cacheSeconds: raw.cache_seconds,
    retries: raw.retries,
    maxResponseBytes: raw.max_response_bytes,
    locationHint: raw.location_hint,
  };
}

function targetOf({ origin, service, entrypoint }: z.output<typeof upstreamSchema>): Upstream["target"] {
  if (origin !== undefined) return { origin };
  return service === undefined ? { entrypoint: entrypoint ?? "" } : { service };
}

function isExactOrigin(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  const loopback = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname);
  return url.origin === text && (url.protocol === "https:" || (url.protocol === "http:" && loopback));
}
