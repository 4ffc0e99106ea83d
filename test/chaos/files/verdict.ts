/** The promises about resumable uploads, and whether they were kept. */
import type { Promised } from "../promised.ts";
import type { Record } from "./chaos.ts";

/** How quickly a HEAD must get its response while another request for the upload hangs. */
const MAX_HEAD_MS = 2_000;

export function judge(record: Record): Promised[] {
  const { world, uploads, unfinished, seen, settled, left, collected } = record;
  const { history, looks, faults } = world;
  const losses = history.findLosses();
  const late = looks.filter(({ headMs }) => headMs > MAX_HEAD_MS);
  const fallen = looks.filter(({ offset, acknowledged }) => offset < acknowledged);
  const interrupted = settled.sessions.filter(
    ({ kind, phase }) =>
      phase === "completing" || phase === "publishing" || (kind === "final" && phase !== "complete"),
  );
  const failures = [...world.responses].filter(([what]) => / 5\d\d$/.test(what));
  const filled = left.multiparts.filter(({ parts }) => parts > 0);
  return [
    {
      what: "no acknowledged byte lost",
      isKept: losses.length === 0 && history.responses.length > 0,
      measured: `${losses.length} of ${history.responses.length} responses have a lower offset than one before, ${describeBytes(history.acknowledgedBytes)} acknowledged`,
    },
    {
      what: "every file has the bytes that were uploaded",
      isKept: faults.length === 0 && world.countOf("files read") > 0,
      measured: `${faults.length} have not, of ${world.countOf("files read")} read`,
    },
    {
      what: "nothing visible before it is complete",
      isKept: seen.torn.length === 0 && seen.looks > 0,
      measured: `${seen.torn.length} of ${seen.looks} looks`,
    },
    {
      what: "nothing left over",
      isKept:
        left.files + left.strays + left.objects + left.sessionEntries === 0 &&
        collected.left.length === 0 &&
        filled.length === 0,
      measured:
        `${left.files} files, ${left.strays} strays, ${left.objects} objects in R2, ${left.sessionEntries} entries of ` +
        `sessions, ${filled.length} unfinished multipart uploads with parts`,
    },
    {
      what: "every upload complete",
      isKept: unfinished.length === 0 && uploads.length > 0,
      measured: `${unfinished.length} not, of ${uploads.length + unfinished.length}`,
    },
    {
      what: `a HEAD beside a half-open connection gets its response within ${MAX_HEAD_MS / 1000} s`,
      isKept: late.length === 0 && fallen.length === 0 && looks.length > 0,
      measured: `${late.length} late, ${fallen.length} below what was acknowledged, of ${looks.length}`,
    },
    {
      what: "an upload that was interrupted while it became a file is completed by the alarm",
      isKept: interrupted.length === 0,
      measured: `${interrupted.length} are not`,
    },
    {
      what: "what is removed is gone",
      isKept: world.undead.length === 0 && world.countOf("removals") > 0,
      measured: `${world.undead.length} still there, of ${world.countOf("removals")}`,
    },
    {
      what: "no response with a status of 500 or more",
      isKept: failures.length === 0,
      measured: failures.map(([what, count]) => `${count} × ${what}`).join(", ") || "none",
    },
  ];
}

/** The promises that the control must break. */
export const CONTROLLED = 4;

export const describeBytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
