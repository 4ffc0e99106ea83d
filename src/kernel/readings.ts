/** Asking objects for their figures. One that does not respond is part of the answer, so that no sum hides it. */
import { errorFields, log } from "./log.ts";
import { callObject } from "./objects.ts";
import type { Figures } from "./tally.ts";

/** What kind of object, and which. `group`: figures are added up over the objects of one group. */
export interface ReadObject {
  object: "ledger" | "scheduler" | "catalogue" | "semaphore";
  name: string;
  group: string;
}

export interface Reading extends ReadObject {
  /** Undefined if it did not respond, or runs a version of the code that has none. */
  figures: Figures | undefined;
}

/** Short, since whoever asks for metrics asks again soon. */
const DEADLINE_MS = 5_000;

export async function readObject(object: ReadObject, call: () => Promise<Figures>): Promise<Reading> {
  try {
    return { ...object, figures: await callObject(call, { pausesMs: [50, 500], deadlineMs: DEADLINE_MS }) };
  } catch (error) {
    log("warn", "an object did not report its figures", {
      object: `${object.object} ${object.name}`,
      ...errorFields(error),
    });
    return { ...object, figures: undefined };
  }
}
