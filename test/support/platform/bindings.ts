/** The bindings of the simulated platform: the real ones, each of whose calls is counted, and may be made to fail. */

import { exports, env as workerEnv } from "cloudflare:workers";
import type { ObjectCall } from "./faults.ts";
import { count, subrequest } from "./invocation.ts";
import { platform } from "./platform.ts";
import { isBehindCache, throughWorkersCache } from "./workers-cache.ts";

type Callable = (...args: unknown[]) => Promise<unknown>;

const wrapped = new WeakMap<object, object>();

/** The same wrapper for the same `env`, since the Worker keeps what it parsed of it. */
export function wrapEnv<E extends object>(env: E): E {
  return once(env, () => {
    const bindings = Object.entries(env).map(([name, binding]) => [name, wrapBinding(name, binding)]);
    return Object.fromEntries(bindings) as E;
  });
}

interface Imported {
  env: Env;
  exports: object;
}

let imported: Imported | undefined;

/**
 * What the Worker's own code gets when it imports `env` and `exports`. The first call must be outside of an invocation,
 * where they are the real ones.
 */
export function simulatedImports(): Imported {
  imported ??= { env: wrapEnv({ ...workerEnv }), exports: wrapExports() };
  return imported;
}

function wrapExports(): object {
  const entrypoints = Object.entries(exports).map(([name, entrypoint]: [string, unknown]) => [
    name,
    isObject(entrypoint) ? wrapService(entrypoint, name) : entrypoint,
  ]);
  return Object.fromEntries(entrypoints) as object;
}

function wrapBinding(name: string, binding: unknown): unknown {
  if (!isObject(binding)) return binding;
  // It has every member that is asked for: a name of a method may be that of one on the other side.
  if (Object.prototype.toString.call(binding) === "[object Fetcher]") return wrapService(binding);
  if ("getByName" in binding && "idFromName" in binding) return wrapNamespace(name, binding);
  if ("createMultipartUpload" in binding) return wrapBucket(binding);
  return "fetch" in binding ? wrapService(binding) : binding;
}

/** A namespace of objects, also one of a jurisdiction. */
function wrapNamespace(binding: string, namespace: object): object {
  return intercept(namespace, (key, member) => {
    if (key === "jurisdiction")
      return (...args: unknown[]) => wrapNamespace(binding, apply(member, namespace, args) as object);
    if (key !== "get" && key !== "getByName") return member;
    return (...args: unknown[]) => wrapStub(binding, apply(member, namespace, args) as object);
  });
}

function wrapStub(binding: string, stub: object): object {
  const name: unknown = Reflect.get(stub, "name");
  return intercept(stub, (method, member) => {
    if (typeof member !== "function" || ["then", "dup"].includes(method)) return member;
    const call = { binding, method, name: typeof name === "string" ? name : undefined };
    return async (...args: unknown[]) =>
      subrequest(
        "internal",
        async () =>
          platform.faults.apply(call, async () =>
            wrapTicket(call, (await apply(member, stub, args)) as object),
          ),
        platform.limits.rpcTakesConnection,
      );
  });
}

/** A ticket of a semaphore has methods too. They belong to the request that it came with, and may fail like that. */
function wrapTicket(call: ObjectCall, result: unknown): unknown {
  if (call.binding !== "SEMAPHORE" || !isObject(result) || !("ticket" in result)) return result;
  const ticket = result.ticket as object;
  const wrappedTicket = intercept(ticket, (method, member) => {
    if (typeof member !== "function" || method === "dup") return member;
    return async (...args: unknown[]) =>
      platform.faults.apply({ ...call, method }, async () => apply(member, ticket, args) as Promise<unknown>);
  });
  return intercept(result, (key, member) => (key === "ticket" ? wrappedTicket : member));
}

/** A service binding, an entrypoint by its name, or the assets. */
function wrapService(service: object, name = ""): object {
  return intercept(service, (method, member) => {
    if (typeof member !== "function" || method === "then") return member;
    return async (...args: unknown[]) => {
      const call = async (...sent: unknown[]) => apply(member, service, sent) as Promise<unknown>;
      return subrequest("internal", async () =>
        method === "fetch" ? fetchFrom(name, args, call) : call(...args),
      );
    };
  });
}

async function fetchFrom(name: string, args: unknown[], call: Callable): Promise<unknown> {
  if (!isBehindCache(name)) return call(...args);
  const request = new Request(...(args as [RequestInfo, RequestInit?]));
  return throughWorkersCache(name, request, async () => (await call(...args)) as Response);
}

const CLASS_OF: Readonly<Record<string, "classA" | "classB" | "free">> = {
  put: "classA",
  list: "classA",
  createMultipartUpload: "classA",
  uploadPart: "classA",
  complete: "classA",
  get: "classB",
  head: "classB",
  delete: "free",
  abort: "free",
};

function wrapBucket(bucket: object): object {
  return intercept(bucket, (method, member) => {
    if (method === "resumeMultipartUpload")
      return (...args: unknown[]) => wrapUpload(apply(member, bucket, args) as object);
    const call = countOperation(bucket, method, member);
    if (method !== "createMultipartUpload" || !call) return call ?? member;
    return async (...args: unknown[]) => wrapUpload((await call(...args)) as object);
  });
}

const wrapUpload = (upload: object): object =>
  intercept(upload, (method, member) => countOperation(upload, method, member) ?? member);

function countOperation(target: object, method: string, member: unknown): Callable | undefined {
  const kind = CLASS_OF[method];
  if (kind === undefined || typeof member !== "function") return undefined;
  return async (...args) => {
    if (kind !== "free") count({ [kind]: 1 });
    return holdingUpload(args, async () =>
      subrequest("internal", async () => apply(member, target, args) as Promise<unknown>),
    );
  };
}

/** Counts the bytes of an upload while they are in memory. */
async function holdingUpload(args: unknown[], call: () => Promise<unknown>): Promise<unknown> {
  const bytes = args.reduce<number>((sum, arg) => sum + (ArrayBuffer.isView(arg) ? arg.byteLength : 0), 0);
  platform.uploadBytes += bytes;
  platform.maxUploadBytes = Math.max(platform.maxUploadBytes, platform.uploadBytes);
  try {
    if (platform.uploadBytes > platform.limits.uploadBytes) throw new Error("Worker exceeded memory limit.");
    return await call();
  } finally {
    platform.uploadBytes -= bytes;
  }
}

/** The same object, whose members `replace` may replace. Methods of the runtime must be called on the object itself. */
function intercept<T extends object>(target: T, replace: (name: string, member: unknown) => unknown): T {
  return new Proxy(target, {
    get: (_, key) => {
      const member: unknown = Reflect.get(target, key, target);
      if (key === "constructor") return member;
      if (typeof key === "symbol") return typeof member === "function" ? member.bind(target) : member;
      const replaced = replace(key, member);
      return replaced === member && typeof member === "function" ? member.bind(target) : replaced;
    },
  });
}

function once<T extends object>(original: object, make: () => T): T {
  const known = wrapped.get(original) ?? make();
  wrapped.set(original, known);
  // What is wrapped already stays as it is.
  wrapped.set(known, known);
  return known as T;
}

const apply = (member: unknown, target: object, args: unknown[]): unknown =>
  Reflect.apply(member as Callable, target, args);

const isObject = (value: unknown): value is object =>
  (typeof value === "object" || typeof value === "function") && value !== null;
