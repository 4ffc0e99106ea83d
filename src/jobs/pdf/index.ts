/** Reports as PDF: what jobs draw them with. */
export { type Block, documentSchema, type PdfDocument, readDocument } from "./document.ts";
export { type OwnFonts } from "./faces.ts";
export { readMarkdown } from "./markdown.ts";
export { PdfError } from "./pdf-error.ts";
export { renderPdf } from "./render.ts";
