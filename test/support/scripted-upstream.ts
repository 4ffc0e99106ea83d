/**
 * An upstream that does what a test tells it, and keeps count of the calls it sees: how many at once, at most, and
 * in which order. It runs in the same isolate as the tests, so that they share `upstream`.
 */
import { WorkerEntrypoint } from "cloudflare:workers";

type Answer = (request: Request) => Response | Promise<Response>;

const answerAtOnce: Answer = () => Response.json({ id: 1 });

class Script {
  answer = answerAtOnce;
  inFlight = 0;
  mostInFlight = 0;
  /** The X-Request-Id of each call, in the order of arrival. */
  readonly order: string[] = [];

  /** Forgets the calls so far, and answers like this from now on. */
  reset(answer: Answer = answerAtOnce): void {
    this.answer = answer;
    this.mostInFlight = this.inFlight;
    this.order.length = 0;
  }
}

export const upstream = new Script();

export class ScriptedUpstream extends WorkerEntrypoint {
  override async fetch(request: Request): Promise<Response> {
    upstream.inFlight++;
    upstream.mostInFlight = Math.max(upstream.mostInFlight, upstream.inFlight);
    upstream.order.push(request.headers.get("X-Request-Id") ?? "");
    try {
      return await upstream.answer(request);
    } finally {
      upstream.inFlight--;
    }
  }
}
