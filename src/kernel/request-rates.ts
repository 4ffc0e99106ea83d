/**
 * How many requests a second a token, and all tokens together, may send (`requests_per_second` of a quota). A Durable Object
 * for each limit has a token bucket for the whole fleet. An isolate takes more from it than it needs at once, for a twentieth of
 * a second, and uses that within a second or never; and once it was refused, it asks no more for a twentieth of a second. So
 * it asks about twenty times a second at most, however many requests come.
 *
 * So in T seconds at most `requests_per_second` × (T + 2) requests come through, and as many more as a second brings for each
 * restart of the object, which keeps nothing. If it does not respond, requests are let through: it protects the others from one
 * caller, and must not stop them all.
 */
import { DurableObject } from "cloudflare:workers";
import type { MiddlewareHandler } from "hono";
import type { AppEnv } from "./app-env.ts";
import { GroupedCalls } from "./grouped-calls.ts";
import { errorFields, log } from "./log.ts";
import { callObject, markRepeatable, objectNamed } from "./objects.ts";
import { Problem } from "./problem.ts";
import { readQuotas } from "./quotas.ts";
import { TokenBucket } from "./token-bucket.ts";
import { readTokenQuotas } from "./tokens.ts";
import { perEnv } from "./variables.ts";

/** An object for each limit: "token" and the token's name, or "all". */
export class RequestRate extends DurableObject<Env> {
  readonly #bucket = new TokenBucket();

  take(count: number, perSecond: number): { given: number; retryAfterMs: number } {
    return this.#bucket.take(count, perSecond, Date.now());
  }
}

markRepeatable(RequestRate, "take");

/** What an isolate has taken is good for this long. */
const PORTION_MS = 1_000;
const PORTIONS_PER_SECOND = 20;
/** How long a request waits for the object at most. */
const DEADLINE_MS = 2_000;

type Admission = { isAdmitted: true; left: number } | { isAdmitted: false; retryAfterMs: number };

class Limiter {
  #left = 0;
  #untilMs = 0;
  #refusedUntilMs = 0;
  readonly #group: GroupedCalls<null, Admission>;

  constructor(env: Env, name: string, perSecond: number) {
    this.#group = new GroupedCalls(async (requests) => {
      const wanted = requests.length + Math.floor(perSecond / PORTIONS_PER_SECOND);
      const taken = await objectNamed(env, "REQUEST_RATE", name).take(wanted, perSecond);
      const { retryAfterMs } = taken;
      // What the call before has left over goes first.
      const given = taken.given + this.#leftAt(Date.now());
      const left = Math.max(0, given - requests.length);
      this.#left = left;
      this.#untilMs = Date.now() + PORTION_MS;
      if (given < requests.length)
        this.#refusedUntilMs = Date.now() + Math.max(retryAfterMs, 1_000 / PORTIONS_PER_SECOND);
      return requests.map((_, i) =>
        i < given ? { isAdmitted: true, left } : { isAdmitted: false, retryAfterMs },
      );
    });
  }

  async admit(): Promise<Admission> {
    const nowMs = Date.now();
    if (this.#leftAt(nowMs) > 0) return { isAdmitted: true, left: --this.#left };
    if (nowMs < this.#refusedUntilMs)
      return { isAdmitted: false, retryAfterMs: this.#refusedUntilMs - nowMs };
    try {
      const send = async (untilMs: number) => this.#group.send(null, 1, untilMs);
      return await callObject(send, { deadlineMs: DEADLINE_MS, keepsDeadline: true });
    } catch (error) {
      log("warn", "a rate of requests could not be checked: the request is let through", errorFields(error));
      return { isAdmitted: true, left: 0 };
    }
  }

  #leftAt(nowMs: number): number {
    return nowMs < this.#untilMs ? this.#left : 0;
  }
}

const limitersOf = perEnv((_env) => new Map<string, Limiter>());

function limiterOf(env: Env, name: string, perSecond: number): Limiter {
  const limiters = limitersOf(env);
  const limiter = limiters.get(name) ?? new Limiter(env, name, perSecond);
  limiters.set(name, limiter);
  return limiter;
}

/**
 * Rejects the requests that are too many with a 429 (RFC 6585 §4). The fields are those of
 * draft-ietf-httpapi-ratelimit-headers-11; what remains is what this isolate knows of.
 */
export const limitRequests: MiddlewareHandler<AppEnv> = async (c, next) => {
  const { name } = c.get("principal");
  const own = readTokenQuotas(c.env).get(name)?.requests_per_second;
  const ofAll = readQuotas(c.env).requests_per_second;
  const left = own === undefined ? undefined : await admit(c.env, `token ${name}`, "requests", own);
  if (ofAll !== undefined) await admit(c.env, "all", "requests-of-all", ofAll);
  await next();
  if (own === undefined) return;
  c.res.headers.set("RateLimit-Policy", policyOf("requests", own));
  c.res.headers.set("RateLimit", `"requests";r=${left}`);
};

const policyOf = (policy: string, perSecond: number) =>
  perSecond < 1
    ? `"${policy}";q=1;w=${Math.ceil(1 / perSecond)}`
    : `"${policy}";q=${Math.floor(perSecond)};w=1`;

/** Returns how many are left. Throws the `Problem` 429. */
async function admit(env: Env, name: string, policy: string, perSecond: number): Promise<number> {
  const admission = await limiterOf(env, name, perSecond).admit();
  if (admission.isAdmitted) return admission.left;
  const seconds = Math.max(1, Math.ceil(admission.retryAfterMs / 1_000));
  const whose = policy === "requests" ? "This token" : "All tokens together";
  throw new Problem("too-many-requests", `${whose} may send ${perSecond} requests a second.`, {
    headers: {
      "Retry-After": String(seconds),
      "RateLimit-Policy": policyOf(policy, perSecond),
      RateLimit: `"${policy}";r=0;t=${seconds}`,
    },
  });
}
