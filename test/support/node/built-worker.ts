/** The built Worker, as the files in e2e/ use it. workshop.ts makes what they ask for, and ends it after the run. */
import { inject } from "vitest";

/** The site whose pages may call the shared server. */
export const SITE = "https://app.example.com";

export interface Server {
  /** Without a trailing slash. */
  url: string;
}

/** Variables of the Worker. `GET /data` calls the first of the upstreams that are given. */
interface Variables extends Record<string, unknown> {
  UPSTREAMS?: Record<string, unknown>;
}

/** On plain workerd: nothing between a client and it hides how a body ended. It has neither a bucket nor a cache. */
export const startOnWorkerd = async (variables: Variables): Promise<Server> => start("workerd", variables);

/** The same, with the times of hurried.ts. */
export const startHurried = async (variables: Variables): Promise<Server> =>
  start("hurried-workerd", variables);

/** With all of its bindings, and a cache. */
export const startOnMiniflare = async (variables: Variables): Promise<Server> =>
  start("miniflare", variables);

/** The server that several files share, with all of its bindings. What a file stores in it has ids of its own. */
export const sharedServer = async (): Promise<Server> =>
  startOnMiniflare({ CORS_ORIGINS: [SITE], LINK_KEYS: "key-of-the-tests-of-links-0123456789" });

async function start(kind: string, variables: Variables): Promise<Server> {
  const [first = "demo"] = Object.keys(variables.UPSTREAMS ?? {});
  const query = encodeURIComponent(JSON.stringify({ DATA_UPSTREAM: first, ...variables }));
  return { url: await fromWorkshop(`/${kind}?${query}`) };
}

/** What workshop.ts makes for this request target. */
export async function fromWorkshop(target: string): Promise<string> {
  const response = await fetch(inject("workshop") + target);
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  return text;
}
