/**
 * No input can keep a parser busy: every regular expression in src, on long and hostile text, in linear time.
 *
 * The expressions are found in the source, so that a new one is tried by itself. Each is run over repetitions of every
 * piece of text that it could match in more than one way, between a beginning that it likes and an end that it does
 * not. An expression that backtracks over n characters in n² steps needs minutes for what the others do at once.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import ts from "typescript-5";
import { expect, test } from "vitest";

const root = join(dirname(import.meta.dirname), "src");

/** Of the attack, in characters. */
const LENGTH = 32 * 1024;
/** Of CPU. A linear expression needs less than 3 ms, a quadratic one more than 100. */
const MAX_MS = 60;

/** What expressions here repeat, escape, separate or look for. */
const PIECES = `" \\" \\ \\\\ = =" , ; ;" / - . % %25 * 0 1 9 a A e _ é 😀 { {a } $ \${ \${a ( [ + : ? ' <
  a=" a="b a=b a=b; ;a=" ="" a, 1e 1. 00: W/ W/" bytes=`
  .split(/\s+/)
  .concat(" ", "\t", "\n", "\r\n", "= ", ", ", "; ", '"a" ', "a ", " a");
const ENDINGS = ["", "\u0000", '"'];

/** Each piece, as often as it takes, with each ending. */
const ATTACKS = PIECES.flatMap((piece) => {
  const middle = piece.repeat(Math.ceil(LENGTH / piece.length));
  return ENDINGS.map((ending) => ({ name: `${piece} × n + ${ending}`, text: middle + ending }));
});

interface Pattern {
  at: string;
  expression: RegExp;
}

function patternsIn(path: string): Pattern[] {
  const source = ts.createSourceFile(
    path,
    readFileSync(join(root, path), "utf8"),
    ts.ScriptTarget.Latest,
    true,
  );
  const found: Pattern[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isRegularExpressionLiteral(node)) {
      const end = node.text.lastIndexOf("/");
      const line = source.getLineAndCharacterOfPosition(node.getStart()).line + 1;
      const expression = new RegExp(node.text.slice(1, end), node.text.slice(end + 1));
      found.push({ at: `${path}:${line} ${node.text}`, expression });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

const patterns = readdirSync(root, { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".ts") && !path.endsWith(".d.ts"))
  .flatMap(patternsIn);

/** The beginning of what the expression matches: its literal characters up to the first that stands for others. */
function beginningOf({ source }: RegExp): string {
  const [literal = ""] = /^\^?(?:[\w :/;=-]|\\[/.-])*/.exec(source) ?? [];
  return literal.replaceAll(/[\^\\]/g, "");
}

/** The longest that the expression takes for any attack, in ms of CPU, and for which. */
function slowest(expression: RegExp): { ms: number; attack: string } {
  let worst = { ms: 0, attack: "" };
  for (const beginning of new Set(["", '"', beginningOf(expression)])) {
    for (const { name, text } of ATTACKS) {
      const before = process.cpuUsage();
      (beginning + text).replace(expression, "");
      const ms = process.cpuUsage(before).user / 1000;
      if (ms > worst.ms) worst = { ms, attack: `${beginning} + ${name}` };
      if (ms > MAX_MS) return worst;
    }
  }
  return worst;
}

test("the expressions are found", () => {
  expect(patterns.length).toBeGreaterThan(60);
  expect(patterns.map(({ at }) => at.split(":")[0])).toContain("kernel/access.ts");
});

test.each(patterns)("$at", ({ expression }) => {
  const { ms, attack } = slowest(expression);
  expect(ms, attack).toBeLessThan(MAX_MS);
});

test.each([[/(=\s*|)"((?:\\.|[^"\\])*)"/g], [/0+$/], [/\{(.+?)\}/g], [/\s+$/]])(
  "finds what is not linear: %s",
  (expression) => {
    expect(slowest(expression).ms).toBeGreaterThan(MAX_MS);
  },
);
