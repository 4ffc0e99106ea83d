/** The upstreams in the configuration: which APIs this Worker may call, how, and how hard. */
import { z } from "zod";
import { LOCATION_HINTS, type Region } from "../kernel/regions.ts";
import { badSecret } from "../kernel/secrets.ts";
import { ConfigurationError, perEnv, readVariable } from "../kernel/variables.ts";
import { embeddedUpstreams } from "./demo.ts";
import { type BadSecret, fillSecrets, HEADER_VALUE } from "./header-secrets.ts";
import { type KeyPart, limitKeySchema, perKeySchema, toPerKey, weightsSchema } from "./limit-settings.ts";
import { isReservedInRequests, isReservedInResponses } from "./reserved-headers.ts";
import {
  concurrencySchema,
  type PerKey,
  type Rate,
  rateSchema,
  shardsSchema,
  toRate,
  whyIndivisible,
} from "./settings.ts";

export const METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"] as const;
/** They ask for no change (RFC 9110 §9.2.1). */
export const SAFE_METHODS: readonly string[] = ["GET", "HEAD", "OPTIONS"];
type Method = (typeof METHODS)[number];

const HEADER_NAME = /^[\w-]+$/;

const exactOrigin = z.string().refine(isExactOrigin, {
  message: "must be exactly scheme, host and port, like https://api.example.com (http only for localhost)",
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
    shards: shardsSchema.default(1),
    rate: rateSchema.optional(),
    limit_key: limitKeySchema.optional(),
    per_key: perKeySchema.optional(),
    weights: weightsSchema,
    adaptive: z.boolean().default(false),
    timeout_ms: z.int().min(1).max(300_000).default(5_000),
    max_waiters: z.int().min(0).max(100_000).default(1_000),
    max_wait_ms: z.int().min(0).max(300_000).default(30_000),
    max_passes: z.int().min(0).max(100_000).optional(),
    max_pass_ms: z.int().min(0).max(300_000).default(1_000),
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
    trace: z.boolean().default(true),
    location_hint: z.enum(LOCATION_HINTS).optional(),
  })
  .refine((u) => [u.origin, u.service, u.entrypoint].filter((target) => target !== undefined).length === 1, {
    message: "needs exactly one of origin, service and entrypoint",
  })
  .check(({ value: { concurrency, rate, shards, weights }, issues }) => {
    const max = Math.floor(concurrency / shards);
    for (const [prefix, weight] of Object.entries(weights))
      if (weight > max)
        issues.push({
          code: "custom",
          input: weight,
          path: ["weights", prefix],
          message: `must be at most ${max}, the permits of each shard`,
        });
    if (shards > concurrency)
      issues.push({
        code: "custom",
        input: shards,
        path: ["shards"],
        message: `must be at most concurrency, which is ${concurrency}: each shard needs a permit`,
      });
    const why = whyIndivisible({ concurrency, rate: rate && toRate(rate) }, shards);
    if (why) issues.push({ code: "custom", input: concurrency, path: [why.limit], message: why.message });
  });
const upstreamsSchema = z.record(z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/), upstreamSchema);

/** One upstream. wrangler.toml says what each setting means. */
export interface Upstream {
  name: string;
  target: { origin: string } | { service: string } | { entrypoint: string };
  concurrency: number;
  /** Among how many objects its limits are divided. */
  shards: number;
  rate: Rate | undefined;
  /** What makes the limit key of a call. Undefined: its caller. */
  limitKey: readonly KeyPart[] | undefined;
  perKey: PerKey | undefined;
  /** How much calls weigh at least, by the beginnings of their paths, the longest first. */
  weights: readonly (readonly [prefix: string, weight: number])[];
  adaptive: boolean;
  timeoutMs: number;
  maxWaiters: number;
  maxWaitMs: number;
  maxPasses: number | undefined;
  maxPassMs: number;
  methods: readonly Method[];
  /** True if requests through Sluice may change what it serves: under this name, or another with the same target. */
  isChangedHere: boolean;
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
  /** Whether it is told the trace that a call is part of. */
  trace: boolean;
  locationHint: Region | undefined;
}

export const readUpstreams = perEnv((env): ReadonlyMap<string, Upstream> => {
  const configured = readAllConfigured(env);
  const changed = new Set(
    configured
      .map(({ raw }) => raw)
      .filter(mayBeChanged)
      .map(placeOf),
  );
  return new Map(
    configured.map(({ at, name, raw }) => [
      name,
      { ...toUpstream(env, at, name, raw), isChangedHere: changed.has(placeOf(raw)) },
    ]),
  );
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

type Configured = z.output<typeof upstreamSchema>;

const mayBeChanged = ({ methods }: Configured) => methods.some((method) => !SAFE_METHODS.includes(method));
const placeOf = (raw: Configured) => JSON.stringify(targetOf(raw));

/** A secret that happens to have such a name is text, which must not keep the Worker from starting. */
const isUpstreams = ([key, value]: [string, unknown]) =>
  /^UPSTREAMS_\w+$/.test(key) &&
  (typeof value === "object" || (typeof value === "string" && /^\s*\{/.test(value)));

/** The upstreams of UPSTREAMS and of every variable UPSTREAMS_…; a variable has at most 5 KB. */
function readAllConfigured(env: Env): { at: string; name: string; raw: Configured }[] {
  const others = Object.entries(env)
    .filter(isUpstreams)
    .map(([key]) => key);
  const parsed = [
    { variable: "UPSTREAMS", upstreams: readVariable(env, "UPSTREAMS", upstreamsSchema) },
    ...others.map((variable) => ({ variable, upstreams: readVariable(env, variable, upstreamsSchema) })),
  ];
  const all = parsed.flatMap(({ variable, upstreams }) =>
    Object.entries(upstreams).map(([name, raw]) => ({ variable, name, raw })),
  );
  const names = new Set<string>();
  return all.map(({ variable, name, raw }) => {
    if (names.has(name))
      throw new ConfigurationError(
        `The variable ${variable} has an upstream "${name}", which exists already.`,
      );
    names.add(name);
    return { at: `${variable}.${name}`, name, raw };
  });
}

function toUpstream(env: Env, at: string, name: string, raw: Configured): Omit<Upstream, "isChangedHere"> {
  const headers = Object.entries(raw.headers).map(([header, text]) => ({
    header,
    ...fillSecrets(env, `${at}.headers.${header}`, text),
  }));
  return {
    name,
    target: targetOf(raw),
    concurrency: raw.concurrency,
    shards: raw.shards,
    rate: raw.rate && toRate(raw.rate),
    limitKey: raw.limit_key,
    perKey: raw.per_key && toPerKey(raw.per_key),
    weights: Object.entries(raw.weights).toSorted(([a], [b]) => b.length - a.length),
    adaptive: raw.adaptive,
    timeoutMs: raw.timeout_ms,
    maxWaiters: raw.max_waiters,
    maxWaitMs: raw.max_wait_ms,
    maxPasses: raw.max_passes,
    maxPassMs: raw.max_pass_ms,
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
    trace: raw.trace,
    locationHint: raw.location_hint,
  };
}

function targetOf({ origin, service, entrypoint }: Configured): Upstream["target"] {
  if (origin !== undefined) return { origin };
  return service === undefined ? { entrypoint: entrypoint ?? "" } : { service };
}

function isExactOrigin(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  const loopback = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname);
  return url.origin === text && (url.protocol === "https:" || (url.protocol === "http:" && loopback));
}
