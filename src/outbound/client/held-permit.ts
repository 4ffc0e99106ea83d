/**
 * A permit from its grant to its end: it is renewed, and then released or handed on.
 *
 * Who has taken it over begins its call at once, and tells the semaphore beside it. Until the semaphore knows, the lease
 * is that of the holder before, with its ticket. So that holder keeps its ticket, and an invocation that lives, until
 * then. The lease ends no later than if it had not been handed on: it is the same one, renewed by whoever has it.
 */
import { errorFields, log } from "../../kernel/log.ts";
import { callObject, isOverloaded } from "../../kernel/objects.ts";
import type { Feedback, Lease, PermitRequest } from "../semaphore/permit-types.ts";
import { isPlain } from "../semaphore/wait-queue.ts";
import { semaphoreOf } from "../shards.ts";
import type { Upstream } from "../upstreams.ts";
import { LEASE_MS, RENEW_MS, type SharedLease } from "./hand-over.ts";
import { type HeadReport, startHeadReport } from "./head-report.ts";
import type { LocalUpstream } from "./isolate.ts";
import { semaphoreUnavailable } from "./semaphores.ts";

/** As long as it may take to tell the semaphore. After this, who has handed on a permit leaves it to others to find it. */
const HEAR_MS = 10_000;

type Acquired = Awaited<ReturnType<ReturnType<typeof semaphoreOf>["acquire"]>>;
export type Ticket = Extract<Acquired, { ticket: unknown }>["ticket"];

/** The right to call an upstream now. Release it, once, when the call is over. */
export interface Permit {
  /** The fencing token: grows with every permit of its shard. Until the semaphore has given it, that of the holder before. */
  fence: number;
  /** Aborts when the lease is about to end because it could not be renewed. The call must end before that. */
  signal: AbortSignal;
  /** Say what the head of the response says. `endsSoon`: the release, with the same feedback, follows at once. */
  onHead(feedback: Feedback, endsSoon: boolean): void;
  /** Releases the permit and reports how the call went. Resolves to true if the call failed and may be retried. */
  release(feedback: Feedback): Promise<boolean>;
}

export interface Holding {
  env: Env;
  upstream: Upstream;
  shard: number;
  /** Under whose id the caller waited; the lease has it too, unless it was taken over. */
  request: PermitRequest;
  lease: SharedLease;
  /** After how many hand-overs the caller has it. */
  number: number;
  ticket: Ticket;
  isProbe: boolean;
  /** Where those are that may take it over. */
  local: LocalUpstream;
}

export class HeldPermit implements Permit {
  readonly #holding: Holding;
  readonly #abort = new AbortController();
  readonly #head: HeadReport;
  readonly #tickets: Ticket[];
  readonly #timer: ReturnType<typeof setInterval>;
  #isHeard: boolean;
  /** It was released or handed on. */
  #isOver = false;
  /** Nobody needs its tickets any longer. */
  #hasEnded = false;

  constructor(holding: Holding) {
    this.#holding = holding;
    this.#tickets = [holding.ticket];
    this.#isHeard = holding.number === 0;
    this.#head = startHeadReport(holding.isProbe, (feedback) => this.#reportHead(feedback));
    this.#timer = setInterval(() => this.#onTimer(), RENEW_MS);
    if (!this.#isHeard) this.#affirm(async () => callObject(async () => this.#takeOver()));
  }

  get fence(): number {
    return this.#holding.lease.fence;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  onHead(feedback: Feedback, endsSoon: boolean): void {
    if (asksForPause(feedback)) this.#holding.local.pause();
    this.#head.onHead(feedback, endsSoon);
  }

  async release(feedback: Feedback): Promise<boolean> {
    const { lease, number } = this.#holding;
    this.#head.stop();
    const isHandedOn = await this.#handOn(feedback);
    this.#holding.local.loads.end(this.#holding.shard);
    this.#isOver = true;
    clearInterval(this.#timer);
    try {
      if (!isHandedOn) return await callObject(async () => this.#releaseOnce(feedback));
      await lease.untilHeard(number + 1, HEAR_MS);
      return false;
    } catch (error) {
      log("error", "permit not released: held until its lease ends", {
        ...this.#fields(),
        ...errorFields(error),
      });
      return false;
    } finally {
      this.#hasEnded = true;
      for (const ticket of this.#tickets) ticket[Symbol.dispose]();
    }
  }

  /** After a call that ended well, hands the permit on to the next in the isolate that takes it. Resolves to whether one did. */
  async #handOn(feedback: Feedback): Promise<boolean> {
    const { local, shard, lease, isProbe, request } = this.#holding;
    if (asksForPause(feedback)) local.pause();
    if (feedback.outcome !== "ok" || isProbe || this.signal.aborted || !isPlain(request)) return false;
    return local.lineAt(shard).handOn(lease, feedback);
  }

  #onTimer(): void {
    if (!this.#holding.lease.hasTimeLeft) this.#lose();
    else this.#affirm(async () => (this.#isHeard ? this.#renew() : this.#takeOver()));
  }

  /** Says to the semaphore that the permit is this caller's. `call` resolves to the lease, if it is. */
  #affirm(call: () => Promise<Lease | undefined>): void {
    const requestedAtMs = Date.now();
    call().then(
      (lease) => this.#onAnswer(lease, requestedAtMs),
      (error: unknown) => log("warn", "lease not renewed", { ...this.#fields(), ...errorFields(error) }),
    );
  }

  #onAnswer(answer: Lease | undefined, requestedAtMs: number): void {
    if (!answer && !this.#isOver) this.#lose();
    if (!answer) return;
    this.#isHeard = true;
    const { number, lease } = this.#holding;
    lease.onHeard(number, answer.fence, requestedAtMs + LEASE_MS);
  }

  async #renew(): Promise<Lease | undefined> {
    const { lease, number } = this.#holding;
    return this.#byTicket(
      async (ticket) => ticket.renew(),
      async () => this.#acquireAgain({ leaseId: lease.id, handOvers: number }),
    );
  }

  async #takeOver(): Promise<Lease | undefined> {
    const { lease, number, request } = this.#holding;
    const handOver = lease.describe(number);
    return this.#byTicket(
      async (ticket) => ticket.takeOver(handOver),
      async () =>
        this.#acquireAgain({
          leaseId: lease.id,
          handOvers: number,
          handOver: { ...handOver, waitedAs: request.leaseId },
        }),
    );
  }

  async #releaseOnce(feedback: Feedback): Promise<boolean> {
    const { lease } = this.#holding;
    return this.#byTicket(
      async (ticket) => ticket.release(feedback, lease.id),
      async () => this.#semaphore().release(lease.id, feedback),
    );
  }

  /** With the latest ticket. If that has ended, or is of an object of an older version, `byId`. */
  async #byTicket<T>(call: (ticket: Ticket) => Promise<T>, byId: () => Promise<T>): Promise<T> {
    try {
      return await call(this.#tickets.at(-1) ?? this.#holding.ticket);
    } catch (error) {
      if (isOverloaded(error)) throw error;
      return byId();
    }
  }

  /** Acquires again, which brings another ticket. Resolves to the lease if it is still the same. */
  async #acquireAgain(change: Partial<PermitRequest>): Promise<Lease | undefined> {
    const { request, lease, number } = this.#holding;
    const again = await this.#semaphore().acquire({ ...request, ...change });
    if (again.is === "refused") return undefined;
    const isSame =
      again.is === "granted" &&
      (again.lease.fence === lease.fence || (!this.#isHeard && again.lease.handOvers === number));
    // The lease was released or expired meanwhile. Nobody wants what was acquired instead.
    if (!isSame || this.#hasEnded) again.ticket[Symbol.dispose]();
    else this.#tickets.push(again.ticket);
    return isSame ? again.lease : undefined;
  }

  #lose(): void {
    const { name } = this.#holding.upstream;
    this.#abort.abort(
      semaphoreUnavailable(`The permit for "${name}" could not be renewed: its semaphore does not respond.`),
    );
  }

  #reportHead(feedback: Feedback): void {
    this.#semaphore()
      .reportHead(this.#holding.lease.id, feedback)
      .catch((error: unknown) =>
        log("warn", "head not reported", { ...this.#fields(), ...errorFields(error) }),
      );
  }

  /** A fresh stub of its shard. */
  #semaphore() {
    const { env, upstream, shard } = this.#holding;
    return semaphoreOf(env, upstream, shard);
  }

  #fields() {
    const { upstream, lease } = this.#holding;
    return { upstream: upstream.name, leaseId: lease.id, fence: lease.fence };
  }
}

const asksForPause = ({ retryAfterMs = 0 }: Feedback): boolean => retryAfterMs > 0;
