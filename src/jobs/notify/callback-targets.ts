import { callbackUrlError, readCallbackOrigins } from "../../kernel/callbacks.ts";
import { Problem } from "../../kernel/problem.ts";
import { ConfigurationError, perEnv } from "../../kernel/variables.ts";
import { readUpstreams, targetOf, type Upstream } from "../../outbound/index.ts";

/** The upstream for each origin that callbacks may go to. Throws, at the start, if an origin could not be reached. */
export const readCallbackTargets = perEnv((env): ReadonlyMap<string, Upstream> => {
  const upstreams = readUpstreams(env);
  return new Map(
    [...readCallbackOrigins(env)].map(([origin, name]) => [origin, check(origin, name, upstreams.get(name))]),
  );
});

/**
 * Why no callback can go to `url`; undefined if one can. Checked when a task is submitted, and again when its callback is
 * sent, by the rules of the outbound client: a path that it would refuse is refused here.
 */
export function callbackTargetError(env: Env, url: string): string | undefined {
  const error = callbackUrlError(env, url);
  if (error !== undefined) return error;
  const { origin, pathname, search } = new URL(url);
  const upstream = readCallbackTargets(env).get(origin);
  if (!upstream) return `No upstream has the origin ${origin}.`;
  try {
    targetOf(upstream, pathname + search);
    return undefined;
  } catch (refusal) {
    if (refusal instanceof Problem) return refusal.detail;
    throw refusal;
  }
}

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
