/** Templates, as pure functions. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fillTemplate, PlaceholderError, placeholdersIn } from "../../../src/tasks/types/template.ts";

const SCOPE = {
  input: { fileId: "in.csv", to: ["a@example.com", "b@example.com"], deep: { n: 0, none: null } },
  result: { id: "out.pdf", rows: 12, ok: false, list: [{ x: 1 }], text: "{{input.fileId}}", "a b": 1 },
};
const fill = (
  template: unknown,
  scope = SCOPE as { input: unknown; result: unknown },
  max = 1_000,
): unknown => JSON.parse(fillTemplate(JSON.stringify(template), scope, max));

describe("a placeholder", () => {
  test.each([
    // Alone, it is the value, whatever its type.
    ["{{result.rows}}", 12],
    ["{{ result.rows }}", 12],
    ["{{result.ok}}", false],
    ["{{input.deep.none}}", null],
    ["{{result.list}}", [{ x: 1 }]],
    ["{{result.list.0.x}}", 1],
    ["{{input.to.1}}", "b@example.com"],
    ["{{result.a b}}", 1],
    ["{{result}}", SCOPE.result],
    // Inside text, it is the value's text.
    ["{{result.rows}} rows", "12 rows"],
    ["{{input.fileId}} → {{result.id}}", "in.csv → out.pdf"],
    ["{{result.rows}}{{result.ok}}", "12false"],
    ["of {{input.deep.none}} {{result.list}}", 'of null [{"x":1}]'],
    // What is filled in is no template.
    ["{{result.text}}", "{{input.fileId}}"],
    ["({{result.text}})", "({{input.fileId}})"],
    // Braces themselves.
    ["\\{{name}}", "{{name}}"],
    ["{ {} }", "{ {} }"],
    ["}}", "}}"],
  ])("%j becomes %j", (template, expected) => {
    expect(fill(template)).toEqual(expected);
    expect(fill({ a: [template], "{{result.id}}": 1 })).toEqual({ a: [expected], "{{result.id}}": 1 });
  });

  test.each([
    ["{{result.nope}}", 'The placeholder {{result.nope}} leads nowhere: result has no "nope".'],
    ["x {{result.id.x}}", 'The placeholder {{result.id.x}} leads nowhere: result.id has no "x".'],
    ["{{input.to.2}}", 'input.to has no "2"'],
    ["{{input.to.length}}", 'input.to has no "length"'],
    ["{{input.deep.none.x}}", 'input.deep.none has no "x"'],
    ["{{result.constructor}}", 'result has no "constructor"'],
    ["{{result.__proto__}}", 'result has no "__proto__"'],
  ])("%s leads nowhere", (template, why) => {
    expect(() => fill(template)).toThrow(PlaceholderError);
    expect(() => fill(template)).toThrow(why);
    expect(placeholdersIn(template).errors).toEqual([]);
  });

  test.each([
    "{{name}}",
    "{{}}",
    "{{result..x}}",
    "{{result.}}",
    "{{results.x}}",
    "a {{result.id",
    "{{{result.id}}}",
  ])("%s is none, which is said before anything starts", (template) => {
    const { errors } = placeholdersIn({ a: [template] });
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatchObject({
      at: ["a", "0"],
      detail: expect.stringContaining("is not a placeholder"),
    });
    expect(() => fill(template)).toThrow(PlaceholderError);
  });
});

test("the placeholders of a template are found with their places", () => {
  expect(
    placeholdersIn({ a: "{{result.x}} {{input}}", b: [1, "\\{{result.y}}", { c: "{{result.z.0}}" }] }),
  ).toEqual({
    placeholders: expect.arrayContaining([
      { at: ["a"], path: ["result", "x"] },
      { at: ["a"], path: ["input"] },
      { at: ["b", "2", "c"], path: ["result", "z", "0"] },
    ]),
    errors: [],
  });
});

test("what is filled in is bounded, however often it is asked for", () => {
  const result = { long: "x".repeat(900) };
  expect(() => fill("{{result.long}}", { input: null, result })).not.toThrow();
  for (const template of [["{{result.long}}", "{{result.long}}"], "{{result.long}} {{result.long}}"])
    expect(() => fill(template, { input: null, result })).toThrow(RangeError);
});

describe("for any JSON", () => {
  const withoutBraces = fc.jsonValue().filter((value) => !JSON.stringify(value).includes("{{"));

  test("a template without placeholders is itself", () => {
    fc.assert(
      fc.property(withoutBraces, (value) => {
        expect(fillTemplate(JSON.stringify(value), SCOPE, 1_000)).toBe(JSON.stringify(value));
        expect(placeholdersIn(value)).toEqual({ placeholders: [], errors: [] });
      }),
    );
  });

  test("a value is filled in unchanged, wherever it was, and nothing in it is read as a template", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const scope = { input: { a: [value] }, result: value };
        const filled = fill({ r: "{{result}}", i: ["{{input.a.0}}"] }, scope, 1_000_000);
        const kept: unknown = JSON.parse(JSON.stringify(value));
        expect(filled).toEqual({ r: kept, i: [kept] });
      }),
    );
  });

  test("every member of an object can be reached by its name, unless that has dots or braces", () => {
    const name = fc.string({ minLength: 1 }).filter((text) => !/[.{}]/.test(text) && text === text.trim());
    fc.assert(
      fc.property(name, fc.jsonValue(), (member, value) => {
        const result: unknown = JSON.parse(`{${JSON.stringify(member)}:${JSON.stringify(value)}}`);
        expect(fill(`{{result.${member}}}`, { input: null, result }, 1_000_000)).toEqual(
          JSON.parse(JSON.stringify(value)),
        );
      }),
    );
  });
});
