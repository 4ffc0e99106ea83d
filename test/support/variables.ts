/** The variables that the tests run with: open to localhost, and upstreams that behave in every way. */
const SCRIPTED = { entrypoint: "ScriptedUpstream" };

export const TEST_VARIABLES = {
  ACCESS: "local",
  // Whatever is in a .dev.vars of this machine.
  SLUICE_TOKENS: "[]",
  DATA_UPSTREAM: "scripted",
  DATA_PATH: "/todos/1",
  UPSTREAMS: {
    scripted: { ...SCRIPTED, concurrency: 5 },
    single: { ...SCRIPTED, concurrency: 1, max_waiters: 2 },
    impatient: { ...SCRIPTED, timeout_ms: 100 },
    "short-wait": { ...SCRIPTED, concurrency: 1, max_wait_ms: 100, timeout_ms: 500 },
    unreachable: { origin: "http://127.0.0.1:1" },
    demo: { entrypoint: "DemoUpstream" },
  },
};
