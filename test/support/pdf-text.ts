/** What a PDF shows, read by PDF.js. */
import { extractText, getDocumentProxy } from "unpdf";

/** The text of each page. */
export async function textOfPages(bytes: Uint8Array): Promise<string[]> {
  const pdf = await getDocumentProxy(Uint8Array.from(bytes));
  return (await extractText(pdf)).text;
}
