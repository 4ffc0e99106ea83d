/** Problems that more than one module of this pillar throws. */
import { Problem } from "../../kernel/problem.ts";

export const notFound = (id: string) => new Problem("not-found", `There is no file ${id}.`);

export const preconditionFailed = (id: string) =>
  new Problem(
    "precondition-failed",
    `The file ${id} is not, or is no longer, the version that the request expects.`,
  );

/** For one request with more bytes than the edge lets through. */
export const contentTooLarge = (maxRequestBytes: number, headers: Record<string, string> = {}) =>
  new Problem(
    "too-large",
    `One request can bring at most ${maxRequestBytes} bytes here: send the rest in others (tus-js-client: chunkSize).`,
    { headers },
  );

/** `by`: what says so, if it does not hold for all files. */
export const tooLarge = (maxBytes: number, by: string | null = null) =>
  new Problem("too-large", `A file can have at most ${maxBytes} bytes ${by === null ? "here" : `by ${by}`}.`);
