/**
 * The second control: the same Worker with a few lines changed, so that jobs do what naive ones do. Each change bites when a job
 * goes on in another life of the process, and so shows that the kills reach the jobs where it matters.
 */
import { buildChanged, type Change, replaceOnce } from "../../support/node/changed-worker.ts";
import type { Check } from "./checks.ts";

/** Another one in each life. It is made when it is first asked for: a Worker may not make it while it starts. */
const LIFE = "((globalThis as { life?: string }).life ??= crypto.randomUUID().slice(0, 8))";

const CHANGES: Record<string, readonly (readonly [from: string, to: string])[]> = {
  // What is in the draft already is appended again.
  "src/jobs/process/output.ts": [
    ["const reached = draft?.offset ?? 0;", "const reached = 0;"],
    [".subarray(Math.max(0, draft.offset - place.offset))", ""],
  ],
  // A crawl begins anew, and goes on writing to the same file.
  "src/jobs/scrape/output.ts": [["this.position = saved?.position;", "this.position = undefined;"]],
  // The files of an archive have other names in each life.
  "src/jobs/process/unzip-file.ts": [
    ["outputId(ctx, String(index + 1))", `outputId(ctx, \`\${${LIFE}}.\${index + 1}\`)`],
  ],
  // The draft of a list is another one in each life.
  "src/jobs/scrape/collect-data.ts": [
    ["outputId(ctx, `items.${job.format}`)", `outputId(ctx, \`\${${LIFE}}.items.\${job.format}\`)`],
  ],
  // What an event says is made anew for each delivery.
  "src/jobs/notify/send-webhook.ts": [
    ['await ctx.step("timestamp", async () => new Date().toISOString())', "new Date().toISOString()"],
  ],
  "src/jobs/notify/delivery.ts": [
    [
      "signMessage(readCallbackKeys(env), `msg_${ctx.taskId}`",
      `signMessage(readCallbackKeys(env), \`msg_\${${LIFE}}\``,
    ],
  ],
  "src/jobs/calls/http-request.ts": [['`"${taskId}"`', `\`"\${taskId} \${${LIFE}}"\``]],
  // Each follow-up is started twice.
  "src/tasks/ledger/follow-ups.ts": [["return list.map(", "return [...list, ...list].map("]],
};

/** What must break by it. Whether every job ends depends on how they fare. */
export const SABOTAGED: Check[] = [
  "checkResults",
  "checkLists",
  "checkFiles",
  "checkLeftovers",
  "checkWebhooks",
  "checkCalls",
  "checkFollowUps",
];

/** Builds the Worker that breaks its promises as the module `outfile`; returns that path. */
export async function buildSabotaged(outfile: string): Promise<string> {
  const changes = Object.entries(CHANGES).map(([file, places]): [string, Change] => [
    file,
    (source) => places.reduce((text, [from, to]) => replaceOnce(text, from, to), source),
  ]);
  return buildChanged({ entry: "src/index.ts", outfile, changes: new Map(changes) });
}
