/** What parents and children tell each other, from shard to shard. */
import type { NewTask } from "./claim.ts";
import type { ChildEnd } from "./flow-rules.ts";
import type { ParentRow } from "./flow-schema.ts";

/** What a new child is told of its parent. */
export type ParentLink = Pick<ParentRow, "parent_id" | "depth" | "life">;

/** What one shard has to tell another, or itself. */
export type FlowMessage =
  | { kind: "start"; childId: string; task: NewTask; link: ParentLink }
  | { kind: "ended"; childId: string; parentId: string; life: number; end: ChildEnd }
  | { kind: "cancel"; childId: string; life: number }
  | { kind: "retry"; childId: string; parentId: string; life: number };
