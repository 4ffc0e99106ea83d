/**
 * The calls that the pages show: each command of a `console` block is run, and must print what the page prints.
 *
 * Ids, times, signatures and durations differ each time; a command gets the id that an earlier one has printed in the
 * place of the id in the page. `…` stands for anything, and `curl -i` or `-I` may print more headers. What is not yet as the page says may become so: the
 * command is repeated for a while.
 */

import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { codeBlocksOf, type Page } from "../support/markdown.ts";

const REPEAT_MS = 10_000;
const PAUSE_MS = 250;
const HOST = "localhost:8787";

const ID = String.raw`(?:s\d-)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}`;
const TIME = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z`;
const SIGNED = String.raw`\d{10}\.[\w-]{43}`;
/** The id of a grant. */
const GRANT = String.raw`eyJ[\w.-]+`;
const DURATION = String.raw`dur=[\d.]+`;
const VARYING = new RegExp(`${ID}|${TIME}|${SIGNED}|${GRANT}|${DURATION}`, "g");

interface Call {
  command: string;
  /** What the page prints. */
  output: string;
}

/** In the order of the page. */
export function callsOf(page: Page): Call[] {
  return codeBlocksOf(page)
    .filter(({ language }) => language === "console")
    .flatMap(({ text }) => text.split(/^\$ /m).slice(1))
    .map((call) => {
      const [, command = "", output = ""] = /^((?:.*\\\n)*.*)\n?([\s\S]*)$/.exec(call) ?? [];
      return { command, output: output.trim() };
    });
}

/** Runs the calls of a page against the server at `url`, in `folder`. Throws if one prints something else. */
export async function makeCalls(page: Page, url: string, folder: string): Promise<void> {
  writeFileSync(join(folder, ".curlrc"), "silent\nshow-error\n");
  const printed = new Map<string, string>();
  for (const { command, output } of callsOf(page)) {
    const own = command
      .replace(VARYING, (text) => printed.get(text) ?? text)
      .replaceAll(HOST, new URL(url).host);
    const print = () => {
      const { stdout, stderr } = spawnSync("sh", ["-c", own], {
        cwd: folder,
        env: { ...process.env, CURL_HOME: folder },
        encoding: "utf8",
      });
      return `${stdout}${stderr}`.replaceAll("\r", "").replaceAll(new URL(url).host, HOST).trim();
    };
    const pattern = patternOf(output, / -[iI] /.test(command));
    let actual = print();
    for (
      const untilMs = Date.now() + REPEAT_MS;
      !pattern.test(actual) && Date.now() < untilMs;
      actual = print()
    )
      await sleep(PAUSE_MS);
    const [, ...found] = pattern.exec(actual) ?? [];
    if (found.length === 0 && !pattern.test(actual))
      throw new Error(`${page.path}: ${command}\nprints\n${actual}\nand not\n${output}`);
    for (const [i, text] of (output.match(VARYING) ?? []).entries()) printed.set(text, found[i] ?? text);
  }
}

/** What has the form of `output`, with a group for each part that varies. */
function patternOf(output: string, hasHead: boolean): RegExp {
  const literally = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
  const varying = output.match(VARYING) ?? [];
  const forms = [ID, TIME, SIGNED, GRANT, DURATION].map((form) => ({
    form,
    whole: new RegExp(`^(?:${form})$`),
  }));
  const groups = varying.map((text) => `(${forms.find(({ whole }) => whole.test(text))?.form ?? ""})`);
  const source = output
    .split(VARYING)
    .map((text, i) => literally(text) + (groups[i] ?? ""))
    .join("")
    .replaceAll("…", String.raw`[\s\S]*?`)
    .replaceAll("\n", hasHead ? String.raw`\n(?:.*\n)*?` : "\n");
  return new RegExp(`^${source}$`, "i");
}
