import { describe, expect, test } from "vitest";
import { readMarkdown } from "../../../src/jobs/pdf/markdown.ts";

describe("Markdown is read as blocks:", () => {
  test.each<[string, string, object[]]>([
    [
      "a heading with entities",
      "# A &amp; *b* &#x20AC;",
      [{ type: "heading", level: 1, text: [{ text: "A & " }, { text: "b", italic: true }, { text: " €" }] }],
    ],
    [
      "styles within styles",
      "**a *b* `c`**",
      [
        {
          type: "paragraph",
          text: [
            { text: "a ", bold: true },
            { text: "b", bold: true, italic: true },
            { text: " ", bold: true },
            { text: "c", bold: true, code: true },
          ],
        },
      ],
    ],
    [
      "links, but only to the web",
      "[a](https://a.example/) [b](javascript:x)",
      [
        {
          type: "paragraph",
          text: [{ text: "a", link: "https://a.example/" }, { text: " " }, { text: "b" }],
        },
      ],
    ],
    [
      "lists within lists",
      "- a\n  1. b\n- [x] c",
      [
        {
          type: "list",
          items: [
            { text: [{ text: "a" }], depth: 0 },
            { text: [{ text: "b" }], depth: 1, marker: "1." },
            { text: [{ text: "c" }], depth: 0, marker: "☑" },
          ],
        },
      ],
    ],
    [
      "a list that begins later",
      "3. a\n4. b",
      [{ type: "list", items: [{ marker: "3." }, { marker: "4." }] }],
    ],
    [
      "a table",
      "| a | b |\n|:-:|--:|\n| 1 | **2** |",
      [
        {
          type: "table",
          columns: [
            { title: [{ text: "a" }], align: "center" },
            { title: [{ text: "b" }], align: "right" },
          ],
          rows: [[[{ text: "1" }], [{ text: "2", bold: true }]]],
        },
      ],
    ],
    ["code and a rule", "```js\nlet a;\n```\n\n---", [{ type: "code", text: "let a;" }, { type: "rule" }]],
    ["a quote", "> a\n> b", [{ type: "quote", text: [{ text: "a b" }] }]],
    [
      "HTML as it is written",
      "<b>a</b>\n\n<div>x</div>",
      [
        { type: "paragraph", text: [{ text: "<b>" }, { text: "a" }, { text: "</b>" }] },
        { type: "paragraph", text: [{ text: "<div>x</div>", code: true }] },
      ],
    ],
    [
      "an image that is a stored file",
      "before ![A cat](/files/cat.jpg) after",
      [{ type: "paragraph" }, { type: "image", fileId: "cat.jpg", caption: "A cat" }, { type: "paragraph" }],
    ],
    [
      "a chart",
      '```chart\n{"kind": "bar", "labels": ["a"], "series": [{"name": "n", "values": [1]}]}\n```',
      [{ type: "chart", kind: "bar", labels: ["a"] }],
    ],
  ])("%s", async (_, text, blocks) => {
    expect((await readMarkdown(text)).blocks).toMatchObject(blocks);
  });

  test("an image elsewhere is named", async () => {
    const { blocks, skippedImages } = await readMarkdown("![A cat](https://a.example/cat.jpg)");
    expect(blocks).toMatchObject([{ type: "paragraph", text: [{ text: "[A cat]" }] }]);
    expect(skippedImages).toEqual(["https://a.example/cat.jpg"]);
  });

  test("what is nested too deeply is refused", async () => {
    await expect(readMarkdown(`${">".repeat(20_000)}x`)).rejects.toMatchObject({ name: "PdfError" });
  });

  test.each([
    ["```chart\nno\n```", "not JSON"],
    ['```chart\n{"kind": "pie", "labels": [], "series": []}\n```', "is no chart: kind"],
  ])("a chart that is none is refused", async (text, message) => {
    await expect(readMarkdown(text)).rejects.toThrow(message);
  });
});
