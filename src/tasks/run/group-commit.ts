/**
 * Group commit: the submissions and reports of an isolate that are for the same shard of the ledger travel together
 * (kernel/grouped-calls.ts), since a call and a commit cost as much for many as for one.
 *
 * Each is a try of its own, as if it had travelled alone: an error of one submission is that of no other, and an error of
 * the call is that of all it carried, whose owners try again or give up as `callObject` says. What arrives twice is
 * written once: the ids of tasks are fixed before, and a claim that was given is given again to the same claimant.
 */

import { GroupedCalls } from "../../kernel/grouped-calls.ts";
import { lacksMethod } from "../../kernel/objects.ts";
import type { Claim, NewTask, Report } from "../ledger/claim.ts";
import { hasTags, ledgerOn, ledgerUnavailable } from "../ledger/shards.ts";

/** A submission or a report. */
type Cargo = { tasks: NewTask[] } | { report: Report };
/** Of a submission, as `Written`; of a report, nothing. The error is one to throw. */
type Outcome = { claims: (Claim | null)[] } | { error: unknown };

/** What a task or a report takes of a call besides its characters: the ledger's time. */
const WEIGHT = 10_000;

const groups = new WeakMap<Env, Map<string, GroupedCalls<Cargo, Outcome>>>();

/** Writes tasks to a shard, all or none. Returns the claims, as `TaskLedger.submit` does. One try, until a time. */
export async function submitInGroup(
  env: Env,
  shard: string,
  tasks: NewTask[],
  untilMs: number,
): Promise<(Claim | null)[]> {
  const weight = tasks.reduce((sum, { input }) => sum + WEIGHT + input.length, 0);
  const outcome = await groupOf(env, shard).send({ tasks }, weight, untilMs);
  if ("error" in outcome) throw outcome.error;
  return outcome.claims;
}

/** Sends a report to a shard. One try, until a time. */
export async function reportInGroup(env: Env, shard: string, report: Report, untilMs: number): Promise<void> {
  const { outcome } = report;
  const weight = WEIGHT + (outcome.kind === "succeeded" ? outcome.result.length : 0);
  await groupOf(env, shard).send({ report }, weight, untilMs);
}

function groupOf(env: Env, shard: string): GroupedCalls<Cargo, Outcome> {
  const ofEnv = groups.get(env) ?? new Map<string, GroupedCalls<Cargo, Outcome>>();
  groups.set(env, ofEnv);
  const group = ofEnv.get(shard) ?? new GroupedCalls(async (cargo: Cargo[]) => commit(env, shard, cargo));
  ofEnv.set(shard, group);
  return group;
}

async function commit(env: Env, shard: string, cargo: Cargo[]): Promise<Outcome[]> {
  const submissions = cargo.flatMap((item) => ("tasks" in item ? [item.tasks] : []));
  const reports = cargo.flatMap((item) => ("report" in item ? [item.report] : []));
  const outcomes = (await callLedger(env, shard, submissions, reports)).values();
  return cargo.map((item) => ("tasks" in item ? outcomes.next().value : undefined) ?? REPORTED);
}

const REPORTED: Outcome = { claims: [] };

async function callLedger(
  env: Env,
  shard: string,
  submissions: NewTask[][],
  reports: Report[],
): Promise<Outcome[]> {
  try {
    const ledger = ledgerOn(env, shard);
    const written = await (submissions.some(hasTags)
      ? ledger.commitTagged(submissions, reports)
      : ledger.commit(submissions, reports));
    return written.map((one) => ("error" in one ? { error: refusal(one.error) } : one));
  } catch (error) {
    if (!lacksMethod(error)) throw error;
  }
  // During a deploy, the ledger may still be of a version that takes one submission in a call, or would drop tags.
  if (reports.length > 0) await ledgerOn(env, shard).report(reports);
  return Promise.all(
    submissions.map(async (tasks): Promise<Outcome> => {
      if (hasTags(tasks)) return { error: ledgerUnavailable() };
      try {
        return { claims: await ledgerOn(env, shard).submit(tasks) };
      } catch (error) {
        return { error };
      }
    }),
  );
}

/** As what the object's code has thrown: another try would not help. */
const refusal = (message: string) => Object.assign(new Error(message), { remote: true });
