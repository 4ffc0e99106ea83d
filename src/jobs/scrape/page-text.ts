/** The text of a page as a reader sees it: white space is one space, and blocks begin on a line of their own. */
export class TextBuilder {
  #text = "";
  #line = "";

  write(text: string): void {
    this.#line += text;
  }

  breakLine(): void {
    const line = this.#line.replaceAll(/\s+/g, " ").trim();
    if (line !== "") this.#text += this.#text === "" ? line : `\n${line}`;
    this.#line = "";
  }

  toString(): string {
    this.breakLine();
    return this.#text;
  }
}
