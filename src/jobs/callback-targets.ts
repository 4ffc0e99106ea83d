import { readCallbackKeys, readCallbackOrigins } from "../kernel/callbacks.ts";
import { ConfigurationError, perEnv } from "../kernel/variables.ts";
import { readUpstreams, type Upstream } from "../outbound/index.ts";

/** The upstream for each origin that callbacks may go to. Throws, at the start, if one of them could get none. */
export const readCallbackTargets = perEnv((env): ReadonlyMap<string, Upstream> => {
  readCallbackKeys(env);
  const upstreams = readUpstreams(env);
  return new Map(
    [...readCallbackOrigins(env)].map(([origin, name]) => [origin, check(origin, name, upstreams.get(name))]),
  );
});

/** A bound or embedded upstream has no origin of its own, and stands for whichever it is said to. */
function check(origin: string, name: string, upstream: Upstream | undefined): Upstream {
  const at = `The variable CALLBACK_ORIGINS sends callbacks for ${origin} to "${name}",`;
  if (!upstream) throw new ConfigurationError(`${at} which is not one of UPSTREAMS: add it there.`);
  const { target, methods } = upstream;
  if ("origin" in target && target.origin !== origin) {
    throw new ConfigurationError(
      `${at} which leads to ${target.origin}: name the upstream with origin = "${origin}".`,
    );
  }
  if (!methods.includes("POST")) {
    throw new ConfigurationError(`${at} which takes no POST: add "POST" to UPSTREAMS.${name}.methods.`);
  }
  return upstream;
}
