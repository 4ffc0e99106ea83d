/**
 * A report that cannot be rendered as it is given: a font, an image, a chart in Markdown, too many pages. The message says
 * what is wrong, without the report as its subject.
 */
export class PdfError extends Error {
  override readonly name = "PdfError";
}
