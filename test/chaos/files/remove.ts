/** Removing, as clients do it: until there is an answer. What has been removed must then be gone. */
import { listFiles } from "./check.ts";
import { tus } from "./dialect.ts";
import { sendUntilAnswered } from "./wire.ts";
import type { World } from "./world.ts";

/** `upload`: with what has become of it. */
export type Thing = "file" | "upload";

/** An answer of 404 is as good: an answer before it may have been lost. */
export async function remove(world: World, thing: Thing, id: string): Promise<void> {
  const url = `${world.url()}/${thing}s/${id}`;
  if (thing === "upload") {
    world.history.noteRemoval(id);
    world.announce("removing");
  }
  const { status } = await sendUntilAnswered({ method: "DELETE", url, headers: tus.look });
  world.count("removals");
  if (status !== 204 && status !== 404)
    world.undead.push({ id, why: `DELETE /${thing}s answered ${status}` });
  const after = await sendUntilAnswered({ method: "HEAD", url: `${world.url()}/files/${id}` });
  if (after.status === 404) return;
  const why = `DELETE /${thing}s answered ${status}, and then HEAD /files ${after.status}`;
  world.undead.push({ id, why });
}

/** Everything that is known, or found, or listed. */
export async function removeAll(world: World, found: string[], spared: string[]): Promise<void> {
  const ids = new Set([...world.history.ids, ...found]);
  for (const id of ids) if (!spared.includes(id)) await remove(world, "upload", id);
  for (const { id } of await listFiles(world)) if (!spared.includes(id)) await remove(world, "file", id);
}
