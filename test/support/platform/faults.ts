/** How a call to an object may fail, for reasons that are none of its code. */
type FaultKind =
  /** The object has too much to do. Such a call must not be repeated. */
  | "overloaded"
  /** The call does not arrive. */
  | "unreachable"
  /** The call arrives and is carried out, and its reply is lost. */
  | "reply-lost"
  /** No reply, ever. */
  | "hang"
  /** The object is of a version that does not have the method. */
  | "older";

export interface Fault {
  kind: FaultKind;
  /** The binding of the objects, such as TASK_LEDGER. */
  binding: string;
  /** Default: every object, every method, every call. */
  name?: string;
  method?: string;
  times?: number;
}

export interface ObjectCall {
  binding: string;
  name: string | undefined;
  method: string;
}

export class Faults {
  #faults: Required<Fault>[] = [];

  add({ name = "", method = "", times = Number.POSITIVE_INFINITY, ...fault }: Fault): void {
    this.#faults.push({ ...fault, name, method, times });
  }

  clear(): void {
    this.#faults = [];
  }

  /** Makes a call to an object, unless it is to fail. */
  async apply<T>(call: ObjectCall, make: () => Promise<T>): Promise<T> {
    const fault = this.#take(call);
    switch (fault?.kind) {
      case undefined:
        return make();
      case "overloaded":
        throw failure("Durable Object is overloaded. Too many requests queued.", { overloaded: true });
      case "unreachable":
        throw failure("Network connection lost.", { retryable: true });
      case "reply-lost":
        await make();
        throw failure("Network connection lost.", { retryable: true });
      case "hang":
        return new Promise(() => setTimeout(() => {}, 2_147_483_647));
      case "older":
        throw new TypeError(`The RPC receiver does not implement the method "${call.method}".`);
    }
  }

  #take({ binding, name, method }: ObjectCall): Fault | undefined {
    const fault = this.#faults.find(
      (candidate) =>
        candidate.binding === binding &&
        candidate.times > 0 &&
        [name, ""].includes(candidate.name) &&
        [method, ""].includes(candidate.method),
    );
    if (fault) fault.times--;
    return fault;
  }
}

const failure = (message: string, properties: object) => Object.assign(new Error(message), properties);
