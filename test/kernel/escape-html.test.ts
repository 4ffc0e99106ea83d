import { expect, test } from "vitest";
import { escapeHtml } from "../../src/kernel/escape-html.ts";

test("text is no markup, in an element and in an attribute, and all else stays as it is", () => {
  expect(escapeHtml(`<b title="a" id='b'>&amp;</b>`)).toBe(
    "&#60;b title=&#34;a&#34; id=&#39;b&#39;&#62;&#38;amp;&#60;/b&#62;",
  );
  expect(escapeHtml("naïve 😀 = 1/2")).toBe("naïve 😀 = 1/2");
});
