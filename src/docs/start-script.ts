/**
 * The script of `/docs`: starts Swagger UI, and mends what its markup keeps from people who do not see the page.
 *
 * It makes new elements whenever something opens, so they are mended whenever there are some. What is mended:
 *
 * - a link inside a button, which is no place for one (ARIA in HTML): without its `href` it is text, and the button opens the
 *   operation and writes its place into the URL, as before;
 * - the select of servers, whose label is empty;
 * - headings, which go from the first level to the third;
 * - what is outside the main part, and in no landmark;
 * - names of elements that may have none;
 * - examples and responses that scroll, which the keyboard cannot reach.
 */
export const START_SCRIPT = `const dark = matchMedia("(prefers-color-scheme: dark)");
const dress = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", dress);
dress();

const reference = document.getElementById("reference");
const LANDMARKS = [
  [".information-container", "About this API"],
  [".scheme-container", "Server and access"],
  ["section.models", "Schemas"],
];
const set = (element, name, value) => {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
};
const each = (selector, change) => reference.querySelectorAll(selector).forEach(change);
const mend = () => {
  each("button a[href]", (link) => link.removeAttribute("href"));
  each("#servers", (select) => set(select, "aria-label", "Server"));
  each("h3, h4, h5, h6", (heading) => set(heading, "aria-level", String(Number(heading.tagName[1]) - 1)));
  each("section.models > h4", (heading) => set(heading, "aria-level", "2"));
  each("div.copy-to-clipboard[aria-label]", (element) => element.removeAttribute("aria-label"));
  each(".models-scroll, pre.microlight", (element) => set(element, "tabindex", "0"));
  for (const [selector, name] of LANDMARKS)
    each(selector, (element) => {
      set(element, "role", "region");
      set(element, "aria-label", name);
    });
};
new MutationObserver(mend).observe(reference, { childList: true, subtree: true });

SwaggerUIBundle({ dom_id: "#reference", url: "/openapi.json", deepLinking: true, validatorUrl: null, tryItOutEnabled: true });
`;
