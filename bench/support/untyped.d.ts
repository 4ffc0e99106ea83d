/** The parts in use here of packages that come without types, and of the built Worker where it is a module. */

declare module "autocannon" {
  export interface Options {
    url: string;
    /** Kept busy: each sends its next request when the answer to the one before has come. */
    connections: number;
    /** In seconds. */
    duration?: number;
    /** Of requests, instead of a duration; each of them is answered. */
    amount?: number;
    /** In milliseconds: how often it counts, and sees whether it is done. */
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
    /** Connections that failed, and requests that had no answer in time. */
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
