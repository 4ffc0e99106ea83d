/**
 * What a token is bound to: it sees and touches its own alone, or files whose ids begin with a prefix, or both; or tasks of
 * some types alone.
 *
 * A route is closed to bound tokens unless it says that it keeps to their bounds (`needsWithin` in app.ts). So a new route
 * lets nothing out. Pure rules; an unbound caller has no bounds, and costs nothing.
 */

export interface Bounds {
  /** Set with the scope `own`: the name of the token, which is the owner of what it may reach. */
  owner: string | null;
  /** What the ids of its files begin with; empty: anything. */
  filePrefix: string;
  /** The types of its tasks. A token that is bound in its files has none. */
  taskTypes: readonly string[];
}

/** What the bounds of a file depend on. */
interface Owned {
  id: string;
  /** Missing or null: nobody's in particular, so not its own for any token. */
  owner?: string | null | undefined;
}

export function isWithin(bounds: Bounds | undefined, { id, owner }: Owned): boolean {
  if (!bounds) return true;
  return id.startsWith(bounds.filePrefix) && (bounds.owner === null || bounds.owner === owner);
}

/** The prefix that has both: what a caller lists, and what it may reach. Undefined if no id can have both. */
export function narrowPrefix(bounds: Bounds | undefined, prefix: string): string | undefined {
  const bound = bounds?.filePrefix ?? "";
  if (prefix.startsWith(bound)) return prefix;
  return bound.startsWith(prefix) ? bound : undefined;
}

export const isTypeWithin = (bounds: Bounds | undefined, type: string): boolean =>
  !bounds || bounds.taskTypes.includes(type);
