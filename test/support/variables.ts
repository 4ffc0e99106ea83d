/** The variables that the tests run with: open to localhost, and upstreams that behave in every way. */
const SCRIPTED = { entrypoint: "ScriptedUpstream" };
const METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];

export const TEST_VARIABLES = {
  ACCESS: "local",
  // Whatever is in a .dev.vars of this machine.
  SLUICE_TOKENS: "[]",
  TASK_RETENTION_DAYS: { succeeded: 7, failed: 30, cancelled: 7 },
  WAIT_UNTIL_CUT_SECONDS: 0,
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
  UPSTREAMS: {
    scripted: { ...SCRIPTED, concurrency: 5 },
    single: { ...SCRIPTED, concurrency: 1, max_waiters: 2 },
    impatient: { ...SCRIPTED, timeout_ms: 100 },
    "short-wait": { ...SCRIPTED, concurrency: 1, max_wait_ms: 100, timeout_ms: 500 },
    unreachable: { origin: "http://127.0.0.1:1" },
    demo: { entrypoint: "DemoUpstream" },
    "path-open": SCRIPTED,
    "path-narrow": { ...SCRIPTED, path_prefixes: ["/v1/"] },
    "proxy-any": { ...SCRIPTED, methods: METHODS, headers: { "X-Api-Key": "${TEST_API_KEY}" } },
    "proxy-read": SCRIPTED,
    "proxy-single": { ...SCRIPTED, concurrency: 1 },
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
      headers: { "X-Api-Key": "${TEST_API_KEY}" },
    },
    "client-impatient": { ...SCRIPTED, timeout_ms: 100, retries: 0 },
    "client-any": { ...SCRIPTED, methods: METHODS },
    "client-single": { ...SCRIPTED, concurrency: 1 },
    "client-once": { ...SCRIPTED, retries: 0 },
    "client-wide": { ...SCRIPTED, concurrency: 50 },
    "client-hasty": { ...SCRIPTED, max_wait_ms: 1000 },
    "client-nowhere": { origin: "http://127.0.0.1:1", retries: 1 },
    "cache-own": { ...SCRIPTED, methods: METHODS, concurrency: 1 },
    "cache-default": { ...SCRIPTED, cache_seconds: 60 },
    "cache-off": { ...SCRIPTED, cache_seconds: 0 },
    "cache-keyed": { ...SCRIPTED, headers: { Authorization: "Bearer ${TEST_API_KEY}" } },
    watched: { ...SCRIPTED, concurrency: 2 },
    steered: { ...SCRIPTED, concurrency: 2, rate: { per_second: 1000, burst: 100 } },
    "steered-single": { ...SCRIPTED, concurrency: 1 },
    "callback-app": { ...SCRIPTED, methods: METHODS, path_prefixes: ["/hooks/"], concurrency: 1 },
    "callback-slow": { ...SCRIPTED, methods: ["POST"], timeout_ms: 100 },
    "callback-nowhere": { origin: "http://127.0.0.1:1", methods: ["POST"] },
  },
};
