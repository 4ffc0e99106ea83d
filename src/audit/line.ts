/** A line of the audit log: who has changed what, by which request, and what came of it. */
import { v7 } from "uuid";
import { z } from "zod";

export const lineSchema = z
  .object({
    at: z.iso.datetime().meta({ description: "When the request was answered." }),
    token: z.string().meta({
      description:
        "The name of the token; `local`, `grant:…`, or `link` for whoever followed the link of a signal.",
    }),
    method: z.string(),
    route: z.string().meta({ description: "As this document has its path.", example: "/tasks/{id}/cancel" }),
    id: z.string().nullable().meta({
      description: "What was changed: the first parameter of the path, or the id of what was created.",
    }),
    status: z.int(),
    problem: z
      .string()
      .nullable()
      .meta({ description: "What was wrong, as the end of the problem's `type`." }),
    requestId: z.string().meta({ description: "As in the log, and in X-Request-Id." }),
  })
  .meta({ id: "AuditLine" });

/** `key` makes it one of its kind, and says when. */
export interface Line extends Omit<z.output<typeof lineSchema>, "at"> {
  key: string;
}

/** Keys of one isolate and millisecond are in the order in which they were made. */
let counter = Math.floor(Math.random() * 0x4000_0000);

/** In the order of time (RFC 9562 §5.7), as this clock has it, also if it was wrong before. */
export function newKey(): string {
  counter = (counter + 1) % 0x8000_0000;
  return v7({ msecs: Date.now(), seq: counter });
}

/** When a key was made. */
export const timeOf = (key: string): number => Number.parseInt(key.slice(0, 8) + key.slice(9, 13), 16);

/** No key that is made from this time on comes before it. */
export function firstKeyAt(ms: number): string {
  const hex = Math.max(0, Math.ceil(ms)).toString(16).padStart(12, "0").slice(-12);
  return `${hex.slice(0, 8)}-${hex.slice(8)}`;
}

export function toEntry({ key, ...line }: Line): z.output<typeof lineSchema> {
  return { at: new Date(timeOf(key)).toISOString(), ...line };
}
