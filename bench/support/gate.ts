/**
 * The semaphores of one workerd process, for Workers in others: as Sluice's isolates reach an object that is elsewhere.
 * It is the module "gate" of a Worker around Sluice's own (workerd.ts).
 *
 *     home    has the Durable Objects, and opens `Gate` to the others
 *     away    reaches the same semaphores through it, over the network
 */
import { RpcTarget, WorkerEntrypoint } from "cloudflare:workers";

interface GateEnv extends Env {
  /** Only in a process without the objects. */
  GATE?: Service<Gate>;
}

export class Gate extends WorkerEntrypoint<GateEnv> {
  semaphore(name: string): Door {
    return new Door(this.env.SEMAPHORE.getByName(name));
  }
}

type Stub = ReturnType<Env["SEMAPHORE"]["getByName"]>;

/** Gives access to one semaphore. Its stub itself has no meaning outside of its process. */
class Door extends RpcTarget {
  readonly #stub: Stub;

  constructor(stub: Stub) {
    super();
    this.#stub = stub;
  }

  acquire(...args: Parameters<Stub["acquire"]>) {
    return this.#stub.acquire(...args);
  }

  wait(...args: Parameters<Stub["wait"]>) {
    return this.#stub.wait(...args);
  }

  reportHead(...args: Parameters<Stub["reportHead"]>) {
    return this.#stub.reportHead(...args);
  }

  release(...args: Parameters<Stub["release"]>) {
    return this.#stub.release(...args);
  }
}

let away: Env | undefined;

/** The environment, with semaphores that can be reached from this process. */
export function reachable(env: GateEnv): Env {
  const { GATE } = env;
  if (!GATE) return env;
  const idFromName = (name: string) => env.SEMAPHORE.idFromName(name);
  // Promise pipelining: a call leaves together with the request for the stub it is made on.
  const getByName = (name: string) => GATE.semaphore(name);
  away ??= Object.assign({ ...env }, { SEMAPHORE: { idFromName, getByName } });
  return away;
}
