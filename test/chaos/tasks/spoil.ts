/** Corrupts rows while nothing runs: JSON columns of a few tasks of a shard become invalid. */
import { DatabaseSync } from "node:sqlite";
import { z } from "zod";
import { Random } from "../random.ts";
import type { Spoilt } from "./history.ts";

const MAX_ROWS = 3;
const RUBBISH = ['{"n": 1,', "", "\u0000\uFFFD", '"another thing"', '{"failures":"many"}'] as const;
const targetSchema = z.object({ id: z.string(), status: z.string(), result: z.unknown(), steps: z.number() });

/** `path` is the SQLite file of the shard. */
export function spoilSomeRows(path: string, seed: number): Spoilt[] {
  const random = new Random(seed, path.replace(/.*\//, ""));
  // Opening the database applies what the kill left in the write-ahead log.
  const database = new DatabaseSync(path);
  try {
    return chooseTargets(database, random).map((target) => {
      const column = chooseColumn(target, random);
      const rubbish = RUBBISH[random.between(0, RUBBISH.length - 1)] ?? "";
      const sql =
        column === "step.result"
          ? "UPDATE step SET result = ? WHERE task_id = ?"
          : `UPDATE task SET ${column} = ? WHERE id = ?`;
      database.prepare(sql).run(rubbish, target.id);
      return { taskId: target.id, column, status: target.status };
    });
  } finally {
    database.close();
  }
}

type Target = z.output<typeof targetSchema>;

/** Mostly tasks that have not ended. */
function chooseTargets(database: DatabaseSync, random: Random): Target[] {
  const select = (where: string) =>
    database
      .prepare(
        `SELECT id, status, result, (SELECT count(*) FROM step WHERE task_id = task.id) AS steps FROM task
         WHERE ${where} ORDER BY id DESC LIMIT 40`,
      )
      .all()
      .map((row) => targetSchema.parse(row));
  const ended = "status IN ('succeeded', 'failed', 'cancelled')";
  const [alive, dead] = [select(`NOT ${ended}`), select(ended)];
  return Array.from({ length: random.between(1, MAX_ROWS) }, () => {
    const among = alive.length > 0 && random.chance(0.8) ? alive : dead;
    return among.splice(random.between(0, among.length - 1), 1);
  }).flat();
}

function chooseColumn({ result, steps }: Target, random: Random): string {
  const columns = ["input", ...(result === null ? [] : ["result"]), ...(steps > 0 ? ["step.result"] : [])];
  return columns[random.between(0, columns.length - 1)] ?? "input";
}
