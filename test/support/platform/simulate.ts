/**
 * Puts the Worker on the simulated platform: `simulate` an object or an entrypoint, `simulateHandler` the default export.
 * Each call of a method from outside is an invocation.
 */
import { withEnvAndExports } from "cloudflare:workers";
import { simulatedImports, wrapEnv } from "./bindings.ts";
import { throughEdge } from "./edge.ts";
import { count, currentInvocation, runInvocation } from "./invocation.ts";
import { patchNetwork } from "./network.ts";
import { platform } from "./platform.ts";
import { countRows } from "./storage.ts";
import type { Usage } from "./usage.ts";

type Method = (this: object, ...args: unknown[]) => unknown;
type ObjectClass = new (ctx: DurableObjectState, env: Env) => object;
type EntrypointClass = new (ctx: ExecutionContext, env: Env) => object;

patchNetwork();
countLines();

export function simulateObject(Class: ObjectClass): ObjectClass {
  const Simulated = class extends Class {
    constructor(ctx: DurableObjectState, env: Env) {
      countRows(ctx.storage);
      super(ctx, wrapEnv(env));
    }
  };
  return wrapMethods(Simulated, Class, { objectRequests: 1 });
}

export function simulateEntrypoint(Class: EntrypointClass): EntrypointClass {
  const Simulated = class extends Class {
    constructor(ctx: ExecutionContext, env: Env) {
      // Of its own, so that no invocation waits for a call of another one (run/group-commit.ts). On the platform each goes
      // on in its own context; this pool lets the waiting one go on in that of the other, and ends it with that.
      super(ctx, { ...wrapEnv(env) });
    }
  };
  return wrapMethods(Simulated, Class, {});
}

interface Handler {
  fetch(request: Request, env: Env, ctx: ExecutionContext): Response | Promise<Response>;
  scheduled(controller: ScheduledController, env: Env): Promise<void>;
}

export function simulateHandler(handler: Handler): Handler {
  return {
    fetch: async (request, env, ctx) =>
      invoke(undefined, { requests: 1 }, async () =>
        throughEdge(request, await handler.fetch(request, wrapEnv(env), trackWaitUntil(ctx))),
      ),
    scheduled: async (controller, env) =>
      invoke(undefined, { requests: 1 }, async () => handler.scheduled(controller, wrapEnv(env))),
  };
}

/** Runs `action` as an invocation, with the bindings of the simulated platform. */
function invoke<T>(object: object | undefined, usage: Partial<Usage>, action: () => T): T {
  const { env, exports } = simulatedImports();
  const result = runInvocation(object, usage, () => withEnvAndExports(env, exports, action) as T);
  platform.track(result);
  return result;
}

const trackWaitUntil = (ctx: ExecutionContext): ExecutionContext =>
  new Proxy(ctx, {
    get: (_, key) => {
      const member: unknown = Reflect.get(ctx, key);
      if (typeof member !== "function") return member;
      return (...args: unknown[]) => {
        if (key === "waitUntil") platform.track(args[0]);
        return Reflect.apply(member, ctx, args);
      };
    },
  });

/** Makes each call of a method an invocation, unless the object itself makes it. */
function wrapMethods<C extends ObjectClass | EntrypointClass>(
  Simulated: C,
  Class: C,
  usage: Partial<Usage>,
): C {
  for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(Class.prototype))) {
    if (name === "constructor" || typeof value !== "function") continue;
    const wrapper: Method = function (this: object, ...args) {
      // Looked up at each call, since a test may replace it.
      const call = () => Reflect.apply(Reflect.get(Class.prototype, name) as Method, this, args);
      return currentInvocation()?.object === this ? call() : invoke(this, usage, call);
    };
    Object.defineProperty(Simulated.prototype, name, { value: wrapper, writable: true, configurable: true });
  }
  return Simulated;
}

/** Each line that the Worker writes is an event. */
function countLines(): void {
  for (const level of ["info", "warn", "error"] as const) {
    const write = console[level].bind(console);
    console[level] = (...args: unknown[]) => {
      if (currentInvocation()) count({ logEvents: 1 });
      write(...args);
    };
  }
}
