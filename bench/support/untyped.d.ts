/** The parts used here of packages without types, and of the built Worker where it is a module. */

declare module "autocannon" {
  export interface Options {
    url: string;
    /** Each sends its next request when it has the response to the last one. */
    connections: number;
    /** In seconds. */
    duration?: number;
    /** The number of requests, instead of a duration. Each of them gets a response. */
    amount?: number;
    /** In milliseconds: how often it counts, and checks whether it is done. */
    sampleInt?: number;
    method?: string;
    headers?: Record<string, string>;
    requests?: Request[];
  }

  export interface Request {
    body?: string;
    /** Called for each request, right before it is sent. */
    setupRequest?: (request: Request) => Request;
    onResponse?: () => void;
  }

  export interface Result {
    "2xx": number;
    non2xx: number;
    /** Failed connections, and requests without a response in time. */
    errors: number;
    /** In seconds. */
    duration: number;
    /** In milliseconds. */
    latency: { p50: number; p99: number };
  }

  export default function autocannon(options: Options): Promise<Result>;
}

declare module "workerd" {
  /** `default` is the path of the executable for this machine. */
  const workerd: { default: string; version: string };
  export default workerd;
}

/** Its classes; see outbound/worker.ts. */
declare module "sluice";
/** `gate.ts` beside it. */
declare module "gate";

declare module "papaparse" {
  const Papa: { parse(text: string, options: { step: () => void }): void };
  export default Papa;
}
