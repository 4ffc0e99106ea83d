/** What a report consists of: the form in which jobs describe it, and callers as JSON. */
import { z } from "zod";
import { PdfError } from "./pdf-error.ts";

const MAX_TEXT = 200_000;
const text = z.string().max(MAX_TEXT);

const spanSchema = z.object({
  text,
  bold: z.boolean().optional(),
  italic: z.boolean().optional(),
  code: z.boolean().optional(),
  link: z
    .string()
    .max(2_000)
    .regex(/^(?:https?:\/\/|mailto:)[\x21-\x7e]+$/, "an http, https or mailto URL, in ASCII")
    .optional(),
});
const inlineSchema = z.union([text, z.array(spanSchema).max(1_000)]).meta({
  description: "Text, or parts of text with a style or a link each.",
});

const align = z.enum(["left", "center", "right"]);

const chartSchema = z.object({
  type: z.literal("chart"),
  kind: z.enum(["bar", "line"]),
  title: z.string().max(200).optional(),
  /** One for each value of a series, along the horizontal axis. */
  labels: z.array(z.string().max(100)).min(1).max(2_000),
  series: z
    .array(
      z.object({
        name: z.string().max(100),
        values: z.array(z.number().nullable()).max(2_000).meta({ description: "null leaves a gap." }),
      }),
    )
    .min(1)
    .max(8),
  unit: z.string().max(20).optional(),
});

const tableSchema = z.object({
  type: z.literal("table"),
  columns: z
    .array(z.object({ title: inlineSchema, align: align.optional() }))
    .min(1)
    .max(30),
  rows: z.array(z.array(inlineSchema).max(30)).max(50_000),
});

const blockSchema = z.discriminatedUnion("type", [
  z.object({ type: z.literal("heading"), level: z.int().min(1).max(4), text: inlineSchema }),
  z.object({ type: z.literal("paragraph"), text: inlineSchema }),
  z.object({
    type: z.literal("list"),
    ordered: z.boolean().optional(),
    start: z.int().min(0).max(1_000_000).optional(),
    items: z
      .array(
        z.object({
          text: inlineSchema,
          /** 0 for an item of the list, 1 for one of a list within it. */
          depth: z.int().min(0).max(5).optional(),
          /** What stands before it. Default: a number or a dot. */
          marker: z.string().max(12).optional(),
        }),
      )
      .max(10_000),
  }),
  z.object({ type: z.literal("quote"), text: inlineSchema }),
  z.object({ type: z.literal("code"), text }),
  tableSchema,
  chartSchema,
  z.object({
    type: z.literal("image"),
    fileId: z.string().meta({ description: "A stored JPEG or PNG." }),
    caption: z.string().max(500).optional(),
    /** Of the width of the text. */
    width: z.number().min(0.05).max(1).optional(),
  }),
  z.object({ type: z.literal("rule") }),
  z.object({ type: z.literal("page_break") }),
]);

export const documentSchema = z.object({
  title: z.string().max(300).optional(),
  author: z.string().max(300).optional(),
  page_size: z.enum(["A4", "letter"]).optional().meta({ description: "Default: A4." }),
  landscape: z.boolean().optional(),
  blocks: z.array(blockSchema).max(50_000),
});

/** Throws a `PdfError` that names the first place at fault. */
export function readDocument(value: unknown): z.output<typeof documentSchema> {
  const { data, error } = documentSchema.safeParse(value);
  if (data) return data;
  const [{ path, message } = { path: [], message: "" }] = error.issues;
  throw new PdfError(`it is not a document: ${path.length === 0 ? "" : `${path.join(".")}: `}${message}`);
}

export type PdfDocument = z.input<typeof documentSchema>;
export type Block = z.output<typeof blockSchema>;
export type Span = z.output<typeof spanSchema>;
export type Inline = z.output<typeof inlineSchema>;
export type Table = z.output<typeof tableSchema>;
export type Chart = z.output<typeof chartSchema>;

export const spansOf = (inline: Inline): Span[] => (typeof inline === "string" ? [{ text: inline }] : inline);
