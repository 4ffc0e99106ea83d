import { readCallbackKeys, readCallbackOrigins } from "../kernel/callbacks.ts";
import { ConfigurationError, perEnv } from "../kernel/variables.ts";
import { readUpstreams, type Upstream } from "../outbound/index.ts";

/** The upstream for each origin that callbacks may go to. Throws, at the start, if an origin could not be reached. */
export const readCallbackTargets = perEnv((env): ReadonlyMap<string, Upstream> => {
  readCallbackKeys(env);
  const upstreams = readUpstreams(env);
  return new Map(
    [...readCallbackOrigins(env)].map(([origin, name]) => [origin, check(origin, name, upstreams.get(name))]),
  );
});

/** A service or entrypoint has no origin of its own, and may stand for any. */
function check(origin: string, name: string, upstream: Upstream | undefined): Upstream {
  const at = `The variable CALLBACK_ORIGINS sends callbacks for ${origin} to "${name}",`;
  if (!upstream) throw new ConfigurationError(`${at} which is not in UPSTREAMS: add it there.`);
  const { target, methods } = upstream;
  if ("origin" in target && target.origin !== origin) {
    throw new ConfigurationError(
      `${at} which has the origin ${target.origin}: name the upstream with origin = "${origin}".`,
    );
  }
  if (!methods.includes("POST")) {
    throw new ConfigurationError(`${at} which does not allow POST: add "POST" to UPSTREAMS.${name}.methods.`);
  }
  return upstream;
}
