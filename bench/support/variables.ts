/**
 * Variables that runs do not take from the configuration of whoever runs them: those may name secrets that are not
 * here, or APIs on the internet. A run that needs others gives its own.
 */
export const OWN_VARIABLES = {
  ACCESS: "local",
  CORS_ORIGINS: [],
  CALLBACK_ORIGINS: {},
  DATA_UPSTREAM: "demo",
  DATA_PATH: "/todos/1",
  UPSTREAMS: { demo: { entrypoint: "DemoUpstream" } },
};
