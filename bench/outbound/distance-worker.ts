/**
 * The built Worker, whose semaphore counts what it is asked for, and in which order calls begin. `GET /~counted` responds
 * with the counts since it was last asked. It runs in one process with the objects, and in others that reach them.
 */
import * as builtGate from "gate";
import * as built from "sluice";
import type * as source from "../../src/index.ts";
import type * as gateSource from "../support/gate.ts";

export * from "gate";
export * from "sluice";

const production: typeof source = built;
const gate: typeof gateSource = builtGate;

type AcquireRequest = Parameters<source.Semaphore["acquire"]>[0];

const counted = { requests: 0, messages: 0, begun: 0, passes: 0, mostPasses: 0 };
/** The calls that wait: in which order they came, and how many later ones began before each. */
const waiting = new Map<string, { turn: number; passes: number }>();
let turns = 0;

export class Semaphore extends production.Semaphore {
  override acquire(request: AcquireRequest): ReturnType<source.Semaphore["acquire"]> {
    counted.requests++;
    counted.messages++;
    waiting.set(request.leaseId, { turn: turns++, passes: 0 });
    const acquired = super.acquire(request);
    if (acquired.is === "granted") onBegin(request.leaseId);
    if (acquired.is !== "refused") countTicket(acquired.ticket);
    return acquired;
  }

  override release(...args: Parameters<source.Semaphore["release"]>): boolean {
    counted.requests++; // a ticket's release goes by another way
    return super.release(...args);
  }
}

/** A later call that begins passes those that still wait. */
function onBegin(leaseId: string): void {
  const turn = waiting.get(leaseId)?.turn;
  if (turn === undefined) return;
  waiting.delete(leaseId);
  counted.begun++;
  for (const earlier of waiting.values()) {
    if (earlier.turn > turn) break;
    counted.passes++;
    counted.mostPasses = Math.max(counted.mostPasses, ++earlier.passes);
  }
}

type Ticket = Extract<ReturnType<source.Semaphore["acquire"]>, { ticket: unknown }>["ticket"];
let isCounting = false;

/** All tickets have one prototype. */
function countTicket(ticket: Ticket): void {
  if (isCounting) return;
  isCounting = true;
  const prototype: Ticket = Object.getPrototypeOf(ticket);
  const original = <Name extends "wait" | "takeOver" | "release">(name: Name): Ticket[Name] =>
    Reflect.get(prototype, name);
  const [wait, takeOver, release] = [original("wait"), original("takeOver"), original("release")];
  Object.assign(prototype, {
    async wait(this: Ticket) {
      counted.messages++;
      const result = await wait.call(this);
      if (result.is === "granted") onBegin(this.request.leaseId);
      return result;
    },
    takeOver(this: Ticket, ...args: Parameters<Ticket["takeOver"]>) {
      counted.messages++;
      onBegin(this.request.leaseId);
      return takeOver.apply(this, args);
    },
    release(this: Ticket, ...args: Parameters<Ticket["release"]>) {
      counted.messages++;
      return release.apply(this, args);
    },
  });
}

export default {
  async fetch(request, env, ctx) {
    if (new URL(request.url).pathname !== "/~counted")
      return production.default.fetch(request, gate.reachable(env), ctx);
    const response = Response.json(counted);
    for (const name of Object.keys(counted)) Reflect.set(counted, name, 0);
    return response;
  },
} satisfies ExportedHandler<Env>;
