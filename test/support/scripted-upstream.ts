/**
 * An upstream that responds as a test tells it to, and counts the calls it sees: how many at once, and in which
 * order. A call is over when the last byte of its response has been taken. It runs in the isolate of the tests, so
 * they share `upstream`.
 */
import { WorkerEntrypoint } from "cloudflare:workers";
import { embeddedUpstreams } from "../../src/outbound/demo.ts";

embeddedUpstreams.add("ScriptedUpstream");

type Respond = (request: Request) => Response | Promise<Response>;

const respondAtOnce: Respond = () => Response.json({ id: 1 });

class Script {
  respond = respondAtOnce;
  inFlight = 0;
  maxInFlight = 0;
  /** The X-Request-Id of each call, in the order of arrival. */
  order: string[] = [];
}

/** What the upstream does, and what it has seen since the last reset. Calls from before a reset no longer count. */
export let upstream = new Script();

/** Starts a new script. By default each call gets a small JSON response at once. */
export function resetUpstream(respond: Respond = respondAtOnce): void {
  upstream = new Script();
  upstream.respond = respond;
}

/** Starts a new script whose calls get no response until the returned function is called. */
export function holdUpstream(respond: Respond = () => Response.json({})): () => void {
  const gate = Promise.withResolvers<void>();
  resetUpstream(async (request) => {
    await gate.promise;
    return respond(request);
  });
  return gate.resolve;
}

/** A response that comes too late for every timeout. */
export async function respondTooLate(): Promise<Response> {
  await scheduler.wait(20_000);
  return Response.json({});
}

export class ScriptedUpstream extends WorkerEntrypoint {
  override async fetch(request: Request): Promise<Response> {
    return respondAsScripted(request);
  }
}

/** For an origin of the simulated platform that is to respond like this upstream. */
export async function respondAsScripted(request: Request): Promise<Response> {
  const script = upstream;
  script.inFlight++;
  script.maxInFlight = Math.max(script.maxInFlight, script.inFlight);
  script.order.push(request.headers.get("X-Request-Id") ?? "");
  const end = () => {
    script.inFlight--;
  };
  try {
    return untilEnd(await script.respond(request), end);
  } catch (error) {
    end();
    throw error;
  }
}

/** The same response. `end` is called when the last byte of its body has been taken. */
function untilEnd(response: Response, end: () => void): Response {
  if (response.body) {
    const body = response.body.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({ flush: end, cancel: end }),
    );
    return new Response(body, response);
  }
  end();
  return response;
}
