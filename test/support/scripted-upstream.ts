/**
 * An upstream that does what a test tells it, and keeps count of the calls it sees: how many at once, at most, and
 * in which order. A call is over when the last byte of its answer has been taken. It runs in the same isolate as the tests, so that they share `upstream`.
 */
import { WorkerEntrypoint } from "cloudflare:workers";
import { embeddedUpstreams } from "../../src/outbound/demo.ts";

embeddedUpstreams.add("ScriptedUpstream");

type Answer = (request: Request) => Response | Promise<Response>;

const answerAtOnce: Answer = () => Response.json({ id: 1 });

class Script {
  answer = answerAtOnce;
  inFlight = 0;
  mostInFlight = 0;
  /** The X-Request-Id of each call, in the order of arrival. */
  order: string[] = [];
}

/** What it does, and what it has seen since then. Calls from before a `reset` are not counted any more. */
export let upstream = new Script();

export function resetUpstream(answer: Answer = answerAtOnce): void {
  upstream = new Script();
  upstream.answer = answer;
}

export class ScriptedUpstream extends WorkerEntrypoint {
  override async fetch(request: Request): Promise<Response> {
    const script = upstream;
    script.inFlight++;
    script.mostInFlight = Math.max(script.mostInFlight, script.inFlight);
    script.order.push(request.headers.get("X-Request-Id") ?? "");
    const end = () => {
      script.inFlight--;
    };
    try {
      return whileItLasts(await script.answer(request), end);
    } catch (error) {
      end();
      throw error;
    }
  }
}

/** The answer; `end` is told when the last byte of its body has been taken. */
function whileItLasts(answer: Response, end: () => void): Response {
  if (answer.body) {
    const body = answer.body.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({ flush: end, cancel: end }),
    );
    return new Response(body, answer);
  }
  end();
  return answer;
}
