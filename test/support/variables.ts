/** The variables that the tests run with: open to localhost, and upstreams that behave in every way. */
import { COST_UPSTREAMS } from "../../bench/cost/operations.ts";

const SCRIPTED = { entrypoint: "ScriptedUpstream", cache_seconds: 0 };
const CACHED = { entrypoint: "ScriptedUpstream" };
const READ_ONLY = { origin: "https://read-only.example.com", cache_seconds: 60, retries: 0 };
const METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];

export const TEST_VARIABLES = {
  ACCESS: "local",
  // Whatever is in wrangler.toml, or in a .dev.vars of this machine.
  SLUICE_TOKENS: "[]",
  AUDIT: "off",
  TASK_RETENTION_DAYS: { succeeded: 7, failed: 30, cancelled: 7 },
  WAIT_UNTIL_CUT_SECONDS: 0,
  CORS_ORIGINS: [],
  MAX_FILE_BYTES: 50_000_000_000,
  MAX_REQUEST_BYTES: 100_000_000,
  UPLOAD_RULES: [],
  QUOTAS: {},
  LINK_KEYS: "",
  DATA_UPSTREAM: "scripted",
  DATA_PATH: "/todos/1",
  /** A secret, for the headers of upstreams. */
  TEST_API_KEY: "key-of-the-tests",
  /** For callbacks: one key, and the one it replaces. */
  CALLBACK_KEYS: `whsec_${btoa("new key, of the tests, 32 bytes.")} whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw`,
  CALLBACK_ORIGINS: {
    "https://app.example.com": "callback-app",
    "https://slow.example.com": "callback-slow",
    "http://127.0.0.1:1": "callback-nowhere",
  },
  EMAIL_RECIPIENTS: ["ada@example.com", "*@sluice.example"],
  EMAIL_FROM: ["reports@example.com", "alerts@example.com"],
  UPSTREAMS: {
    ...COST_UPSTREAMS,
    scripted: { ...SCRIPTED, concurrency: 5 },
    single: { ...SCRIPTED, concurrency: 1, max_waiters: 2 },
    impatient: { ...SCRIPTED, timeout_ms: 100 },
    "short-wait": { ...SCRIPTED, concurrency: 1, max_wait_ms: 100, timeout_ms: 500 },
    unreachable: { origin: "http://127.0.0.1:1" },
    demo: { entrypoint: "DemoUpstream" },
    "path-open": SCRIPTED,
    "path-narrow": { ...SCRIPTED, path_prefixes: ["/v1/"] },
    "path-encoded": { ...SCRIPTED, path_prefixes: ["/v1/"], encoded_slashes: true },
    "proxy-any": {
      ...SCRIPTED,
      methods: METHODS,
      headers: { "X-Api-Key": "${TEST_API_KEY}" },
      request_headers: ["X-Custom"],
      response_headers: ["X-Custom"],
    },
    "proxy-read": SCRIPTED,
    "proxy-single": { ...SCRIPTED, concurrency: 1, response_headers: ["X-Method"] },
    "proxy-timed": { ...SCRIPTED, concurrency: 1, timeout_ms: 100 },
    "proxy-small": { ...SCRIPTED, concurrency: 1, max_response_bytes: 1000 },
    "proxy-nowhere": { origin: "http://127.0.0.1:1", retries: 0 },
    "call-bound": { service: "ASSETS", cache_seconds: 0 },
    "call-unbound": { service: "NO_SUCH_BINDING" },
    "call-any": {
      ...SCRIPTED,
      methods: METHODS,
      path_prefixes: ["/api/"],
      redirect_origins: ["https://files.example.net"],
      request_headers: ["X-Custom", "X-Caller-Key"],
      headers: { "X-Api-Key": "${TEST_API_KEY}" },
    },
    "client-impatient": { ...SCRIPTED, timeout_ms: 100, retries: 0 },
    "upload-any": { ...SCRIPTED, methods: METHODS },
    "upload-timed": { ...SCRIPTED, methods: METHODS, timeout_ms: 200 },
    "probe-any": { ...SCRIPTED, retries: 0, methods: METHODS },
    socket: { ...SCRIPTED, concurrency: 1, websocket: true },
    "socket-none": SCRIPTED,
    "client-any": { ...SCRIPTED, methods: METHODS, response_headers: ["X-Busy"] },
    "client-single": { ...SCRIPTED, concurrency: 1 },
    "client-once": { ...SCRIPTED, retries: 0 },
    "client-wide": { ...SCRIPTED, concurrency: 50, response_headers: ["X-Custom"] },
    "wide-impatient": { ...SCRIPTED, concurrency: 50, timeout_ms: 500, retries: 0 },
    "client-hasty": { ...SCRIPTED, max_wait_ms: 1000 },
    "client-nowhere": { origin: "http://127.0.0.1:1", retries: 1 },
    "cache-own": {
      ...CACHED,
      methods: METHODS,
      concurrency: 1,
      request_headers: ["X-Api-Key"],
      response_headers: ["X-Custom"],
    },
    "cache-wide": { ...CACHED, methods: METHODS },
    "cache-default": { ...CACHED, cache_seconds: 60 },
    "cache-through": { ...READ_ONLY, concurrency: 1 },
    "cache-through-too": READ_ONLY,
    "cache-off": SCRIPTED,
    "cache-keyed": { ...CACHED, headers: { Authorization: "Bearer ${TEST_API_KEY}" } },
    "edge-keyed": { origin: "https://api.example.com", cache_seconds: 0, request_headers: ["X-Api-Key"] },
    "edge-plain": { origin: "https://api.example.com", redirect_origins: ["https://files.example.net"] },
    untraced: { ...SCRIPTED, trace: false },
    watched: { ...SCRIPTED, concurrency: 2 },
    steered: { ...SCRIPTED, concurrency: 2, rate: { per_second: 1000, burst: 100 } },
    "steered-single": { ...SCRIPTED, concurrency: 1 },
    "callback-app": { ...SCRIPTED, methods: METHODS, path_prefixes: ["/hooks/"], concurrency: 1 },
    "callback-slow": { ...SCRIPTED, methods: ["POST"], timeout_ms: 100 },
    "callback-nowhere": { origin: "http://127.0.0.1:1", methods: ["POST"] },
  },
  /** Whose semaphores are several objects. */
  UPSTREAMS_SHARDED: {
    sharded: { ...SCRIPTED, concurrency: 6, shards: 4, retries: 0, methods: METHODS },
    "sharded-full": { ...SCRIPTED, concurrency: 2, shards: 2, max_waiters: 2, retries: 0 },
    "sharded-rate": { ...SCRIPTED, concurrency: 8, shards: 4, rate: { per_second: 100, burst: 5 } },
  },
  /** With limit keys and weights. */
  UPSTREAMS_KEYED: {
    keyed: { ...SCRIPTED, concurrency: 3, per_key: { concurrency: 2 }, methods: METHODS },
    "keyed-single": { ...SCRIPTED, concurrency: 1, max_waiters: 20 },
    tenants: {
      ...SCRIPTED,
      concurrency: 3,
      limit_key: "{header:x-tenant}:{path:2}",
      weights: { "/large/": 3 },
    },
  },
  /** For crawls and collections. */
  UPSTREAMS_SCRAPE: {
    "scrape-site": { ...SCRIPTED, concurrency: 4, retries: 0 },
    "scrape-part": { ...SCRIPTED, retries: 0, path_prefixes: ["/docs/", "/robots.txt/"] },
    "scrape-named": { ...SCRIPTED, retries: 0, headers: { "User-Agent": "ShopBot/2.0" } },
    "scrape-narrow": { ...SCRIPTED, concurrency: 1, max_wait_ms: 100, retries: 0 },
  },
};
