/** The promises about jobs, each checked in the history. */
import type { Promised } from "../promised.ts";
import type { History } from "./history.ts";
import type { Received } from "./outside.ts";

export interface Verdict extends Promised {
  faults: string[];
}

interface Finding {
  what: string;
  faults: string[];
  /** How many things were examined. A check that examined nothing shows nothing. */
  of: number;
  measured: string;
}

const checkEnds = ({ ended, unfinished }: History): Finding => ({
  what: "every job ends, and succeeds",
  of: ended.length,
  measured: `${ended.length} have ended, ${unfinished.length} have not`,
  faults: [
    ...unfinished.map((task) => `not ended: ${task}`),
    ...ended
      .filter(({ status }) => status !== "succeeded")
      .map(({ kind, taskId, status, error }) => `${kind} ${taskId} has ${status}: ${error}`),
  ],
});

const checkResults = ({ ended }: History): Finding => ({
  what: "every result is right, byte for byte",
  of: ended.length,
  measured: `${ended.filter(({ wrong }) => wrong.length > 0).length} are not, of ${ended.length}`,
  faults: ended.flatMap(({ kind, taskId, wrong }) => wrong.map((why) => `${kind} ${taskId}: ${why}`)),
});

function checkLists({ ended }: History): Finding {
  const lists = ended.filter(({ listed }) => listed.length > 0);
  const faults = lists.flatMap(({ kind, taskId, listed }) => {
    const twice = listed.length - new Set(listed).size;
    return twice === 0 ? [] : [`${kind} ${taskId} has ${twice} of its ${listed.length} twice`];
  });
  const lines = lists.reduce((sum, { listed }) => sum + listed.length, 0);
  return {
    what: "each page and each item once",
    of: lists.length,
    measured: `${lines} lines of ${lists.length} files`,
    faults,
  };
}

function checkFiles({ ended, stored, files }: History): Finding {
  const expected = new Set([...stored, ...ended.flatMap(({ made }) => made)]);
  const orphans = files.filter((id) => !expected.has(id));
  const there = new Set(files);
  const missing = ended.flatMap(({ kind, made }) =>
    made.filter((id) => !there.has(id)).map((id) => `missing: ${id} of ${kind}`),
  );
  return {
    what: "the files that the results name, and no other",
    of: ended.filter(({ made }) => made.length > 0).length,
    measured: `${files.length} files, ${orphans.length} of nobody, ${missing.length} missing`,
    faults: [...missing, ...orphans.map((id) => `of nobody: ${id}`)],
  };
}

const checkLeftovers = ({ disk, files }: History): Finding => ({
  what: "no draft left, no part of one, and no object that nothing will remove",
  of: files.length,
  measured:
    `${disk.drafts.length} drafts, ${disk.objects.length} objects, ${disk.multiparts.length} multipart uploads; ` +
    `${disk.doomed} are to be removed`,
  faults: [
    ...disk.drafts.map((id) => `draft: ${id}`),
    ...disk.objects.map((key) => `object: ${key}`),
    ...disk.multiparts.map((key) => `multipart upload: ${key}`),
  ],
});

const checkWebhooks = ({ received }: History): Finding =>
  checkKeys("each webhook has one webhook-id, however often it is sent", received, ["webhook"]);

const checkCalls = ({ received }: History): Finding =>
  checkKeys("each call has one Idempotency-Key, however often it is made", received, ["order", "store"]);

/** By path: each job has its own. */
function checkKeys(what: string, received: Received[], kinds: Received["kind"][]): Finding {
  const calls = received.filter(({ kind }) => kinds.includes(kind));
  const paths = Map.groupBy(calls, ({ path }) => path);
  const faults = [...paths].flatMap(([path, those]) => {
    const keys = new Set(those.map(({ key }) => key));
    return keys.size === 1 && !keys.has("") ? [] : [`${path} had ${[...keys].join(", ") || "none"}`];
  });
  const again = calls.length - paths.size;
  return { what, of: paths.size, measured: `${paths.size} jobs, ${again} repetitions`, faults };
}

function checkFollowUps({ ended, tasks }: History): Finding {
  const known = new Set(ended.map(({ taskId }) => taskId));
  const others = tasks.filter((id) => !known.has(id));
  const wanted = ended.reduce((sum, { wanted: count }) => sum + count, 0);
  return {
    what: "each follow-up starts once",
    of: wanted,
    measured: `${wanted} follow-ups, and ${others.length} tasks of nobody`,
    faults: [
      ...others.map((id) => `of nobody: ${id}`),
      ...ended
        .filter(({ followUps, wanted: count }) => followUps !== count)
        .map(
          ({ kind, taskId, followUps, wanted: count }) =>
            `${kind} ${taskId}: ${followUps} instead of ${count}`,
        ),
    ],
  };
}

/** Not a promise of Sluice, but of this run: without it, the others would say little. */
function checkCuts({ kills, ended }: History): Finding {
  const cuts = ended.reduce((sum, job) => sum + job.cuts, 0);
  return {
    what: "the kills meet jobs at work: as many of them as there are kills, at least",
    of: kills.length,
    measured: `${cuts} jobs were cut by ${kills.length} kills`,
    faults: cuts < kills.length ? ["too few"] : [],
  };
}

export const CHECKS = {
  checkCuts,
  checkEnds,
  checkResults,
  checkLists,
  checkFiles,
  checkLeftovers,
  checkWebhooks,
  checkCalls,
  checkFollowUps,
};
export type Check = keyof typeof CHECKS;

export function judge(history: History, check: Check): Verdict {
  const { what, faults, of, measured } = CHECKS[check](history);
  return { what, faults, measured, isKept: faults.length === 0 && of > 0 };
}
