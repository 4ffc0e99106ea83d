/** Removes as clients do: until there is a response. What was removed must then be gone. */
import { listFiles } from "./check.ts";
import { tus } from "./dialect.ts";
import { sendUntilResponse } from "./wire.ts";
import type { World } from "./world.ts";

/** `upload`: together with the file that it became. */
export type Thing = "file" | "upload";

/** A 404 counts as success, because an earlier response may have been lost. */
export async function remove(world: World, thing: Thing, id: string): Promise<void> {
  const url = `${world.url()}/${thing}s/${id}`;
  if (thing === "upload") {
    world.history.noteRemoval(id);
    world.announce("removing");
  }
  const { status } = await sendUntilResponse({ method: "DELETE", url, headers: tus.look });
  world.count("removals");
  if (status !== 204 && status !== 404)
    world.undead.push({ id, why: `DELETE /${thing}s responded ${status}` });
  const after = await sendUntilResponse({ method: "HEAD", url: `${world.url()}/files/${id}` });
  if (after.status === 404) return;
  const why = `DELETE /${thing}s responded ${status}, and then HEAD /files ${after.status}`;
  world.undead.push({ id, why });
}

/** Removes everything that is known, found on disk, or listed. */
export async function removeAll(world: World, found: string[], spared: string[]): Promise<void> {
  const ids = new Set([...world.history.ids, ...found]);
  for (const id of ids) if (!spared.includes(id)) await remove(world, "upload", id);
  for (const { id } of await listFiles(world)) if (!spared.includes(id)) await remove(world, "file", id);
}
