/** The figures of the catalogues, for `GET /metrics`. */
import { type Reading, readObject } from "../../kernel/readings.ts";
import { CATALOGUES, catalogueNamed } from "./shards.ts";

/** `existing`: the objects that exist, each as `BINDING/name`; others than these are left out. */
export async function readFileFigures(env: Env, existing: readonly string[]): Promise<Reading[]> {
  const names = CATALOGUES.filter((name) => existing.includes(`FILE_CATALOGUE/${name}`));
  return Promise.all(
    names.map(async (name) =>
      readObject({ object: "catalogue", name, group: "" }, async () => catalogueNamed(env, name).figures()),
    ),
  );
}
