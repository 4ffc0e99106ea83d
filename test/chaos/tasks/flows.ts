/** Flows: each child has one end, and each parent goes on with how all of them have ended, in their order. */
import { z } from "zod";
import type { Finding } from "./checks.ts";
import { type History, isTerminal } from "./history.ts";
import { kindOf } from "./kinds.ts";

const resultSchema = z.object({
  ends: z.array(
    z.object({ id: z.string(), status: z.string(), result: z.object({ n: z.number() }).optional() }),
  ),
});

export function checkFlows(history: History): Finding {
  const spoilt = new Set(history.spoilt.map(({ taskId }) => taskId));
  const parents = [...history.tasks.values()].filter(
    ({ id, type }) => kindOf(type)?.children !== undefined && !spoilt.has(id),
  );
  const ended = parents.filter(({ status }) => status === "succeeded");
  const faults = parents.flatMap(({ id, type, status, children = [], result }) => {
    const planned = kindOf(type)?.children ?? [];
    const types = children.map((child) => child.type);
    const open = children.filter((child) => !isTerminal(child.status));
    const tree = [
      ...(types.length === 0 || types.join(" ") === planned.join(" ")
        ? []
        : [`its children are ${types.join(" ")}`]),
      ...open.map((child) => `its child ${child.id} is ${child.status}`),
    ];
    if (status !== "succeeded") return tree.map((fault) => `${id}: ${fault}`);
    const parsed = resultSchema.safeParse(result);
    const ends = parsed.success ? parsed.data.ends : [];
    const ids = ends.map((end) => end.id).join(" ");
    const wrong = ends.filter((end, i) => {
      const own = spoilt.has(end.id) || history.deletions.some(({ of }) => of === end.id);
      const isAgain = history.retries.some(({ of }) => of === end.id);
      const child = history.tasks.get(end.id);
      if (own || isAgain) return false;
      if (kindOf(planned[i] ?? "")?.ending === "refuse" && end.status === "succeeded") return true;
      return child !== undefined && child.status !== end.status;
    });
    return [
      ...tree,
      ...(ids === children.map((child) => child.id).join(" ") ? [] : [`it knows the ends of ${ids}`]),
      ...(ends.length === planned.length ? [] : [`it knows ${ends.length} ends of ${planned.length}`]),
      ...wrong.map((end) => `its child ${end.id} is ${end.status} for it`),
    ].map((fault) => `${id}: ${fault}`);
  });
  const count = parents.reduce((sum, { children = [] }) => sum + children.length, 0);
  return {
    what: "each child is started once and has one end, and each parent goes on with all of them",
    of: ended.length,
    measured: `${faults.length} faults; ${ended.length} of ${parents.length} parents succeeded, with ${count} children`,
    faults,
  };
}
