import { z } from "zod";
import { TYPE_NAME } from "./define.ts";

/** A type's name as a caller sends it. */
export const typeNameSchema = z.string().regex(TYPE_NAME, {
  error: "is not the name of a task type: 1 to 64 letters, digits, _, - and .",
});
