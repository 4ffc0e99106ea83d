/** What happened in a run, as seen from outside. The checks (checks.ts) judge it, and the doctor (doctor.ts) falsifies it. */
import type { Received } from "./outside.ts";

/** A job after its end; a follow-up is one too. */
export interface Ended {
  kind: string;
  taskId: string;
  status: string;
  /** Of a task that has failed. */
  error: string;
  /** Sentences. */
  wrong: string[];
  /** The ids of the files that its result names. */
  made: string[];
  /** What its file lists: addresses of pages, ids of items. */
  listed: string[];
  /** How often it was at work when the runtime was killed. */
  cuts: number;
  /** How many follow-ups it has started, and how many it was to start. */
  followUps: number;
  wanted: number;
}

export interface History {
  /** What the moment of each is called. */
  kills: string[];
  ended: Ended[];
  /** Tasks that had not ended when the patience was over. */
  unfinished: string[];
  /** The ids of the files that were stored for the jobs, and of all files at the end. */
  stored: string[];
  files: string[];
  /** The ids of all tasks at the end. */
  tasks: string[];
  received: Received[];
  disk: Leftovers;
  tookMs: number;
}

/** What is on disk at the end and belongs to no file. */
export interface Leftovers {
  /** The ids of drafts and uploads that are not files yet, or not any longer. */
  drafts: string[];
  /** The keys of objects that no file has, and that nothing will remove either. */
  objects: string[];
  /** Multipart uploads with parts that nothing will end. */
  multiparts: string[];
  /** How many objects and multipart uploads are on the list of what is to be removed. */
  doomed: number;
}
