/**
 * Counts the rows that objects write. The methods of the runtime's storage are replaced where they are defined, since an
 * object must be given the runtime's own `ctx`.
 *
 * An object writes outside of any invocation too, when the runtime disposes a stub. That counts for the platform only.
 */
import { count } from "./invocation.ts";

type Method = (this: object, ...args: unknown[]) => unknown;

let isPatched = false;

/** With the storage of the first object, for all objects of the isolate. */
export function countRows(storage: DurableObjectStorage): void {
  if (isPatched) return;
  isPatched = true;
  // SQLite has made all changes of a statement by the time it returns the first row.
  replace(storage.sql, "exec", (cursor) => (cursor as SqlStorageCursor<never>).rowsWritten);
  for (const method of ["put", "delete"]) replace(storage.kv, method, () => 1);
  for (const method of ["setAlarm", "deleteAlarm"]) replace(storage, method, () => 1);
}

function replace(target: object, method: string, rowsOf: (result: unknown) => number): void {
  const prototype: object = Object.getPrototypeOf(target);
  const original = Reflect.get(prototype, method) as Method;
  const replacement: Method = function (this: object, ...args) {
    const result = Reflect.apply(original, this, args);
    count({ rowsWritten: rowsOf(result) });
    return result;
  };
  Object.defineProperty(prototype, method, { value: replacement, writable: true, configurable: true });
}
