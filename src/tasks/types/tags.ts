/** Tags: labels that a task is submitted with, and by which it is found and counted. */
import { z } from "zod";

export const MAX_TAGS = 10;
/** No comma: it separates the tags of a filter. */
const TAG = /^[\w.:/@+=-]{1,64}$/;

export const tagSchema = z
  .string()
  .regex(TAG, {
    error: "a tag has 1 to 64 characters, each a letter from a to z, a digit, or one of _-.:/@+=",
  })
  .meta({ example: "customer:42" });

/** One that is given twice is one tag. */
export const tagsSchema = z
  .array(tagSchema)
  .max(MAX_TAGS, { error: `a task has at most ${MAX_TAGS} tags` })
  .transform((tags) => [...new Set(tags)])
  .optional()
  .meta({
    description: `At most ${MAX_TAGS}, each of 1 to 64 letters (a to z), digits and \`_-.:/@+=\`. GET /tasks finds the task by them.`,
  });

/** As the ledger keeps them: JSON text. None are no member. */
export const keptTags = (tags: readonly string[] | undefined): { tags?: string } =>
  tags === undefined || tags.length === 0 ? {} : { tags: JSON.stringify(tags) };
