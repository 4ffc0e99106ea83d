/**
 * For the negative control: damage to what Sluice stores, which no kill may ever do. In addition, its server forgets
 * at each kill everything that came after the first one (server.ts).
 */
import { globSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Random } from "../random.ts";
import { tus } from "./dialect.ts";
import type { Server } from "./server.ts";
import { type Facts, makeSource } from "./source.ts";
import { headerOf, send } from "./wire.ts";
import { uploadIdOf, type World } from "./world.ts";

export interface Damage {
  /** A file and an upload that are not removed at the end. */
  spared?: string[];
}

export async function breakSomething(
  server: Server,
  world: World,
  sources: Map<string, Facts>,
): Promise<Damage> {
  await forgetAnUpload(server, world);
  const whole = makeSource(0, "half", new Random(0, "half"));
  sources.set(whole.name, whole);
  // Visible, but not complete.
  await store(world, "half", whole.bytes.subarray(0, whole.bytes.length / 2));
  // Complete, but with one byte changed in the bucket.
  await store(world, "changed", whole.bytes);
  const begun = await begin(world);
  await server.stop();
  changeByte(server.storage);
  await server.start();
  return { spared: ["half", begun] };
}

/** The kills before may have hit no upload that had been acknowledged since the first of them. */
async function forgetAnUpload(server: Server, world: World): Promise<void> {
  const upload = await begin(world);
  const look = async () =>
    world.send({ method: "HEAD", url: `${world.url()}/uploads/${upload}`, headers: tus.look });
  await look();
  await server.kill();
  await look();
}

async function store(world: World, id: string, body: Buffer): Promise<void> {
  const headers = { "Content-Disposition": 'attachment; filename="half"' };
  const { status } = await send({ method: "PUT", url: `${world.url()}/files/${id}`, headers, body });
  if (status !== 201) throw new Error(`PUT responded ${status}`);
}

/** Returns the id of an upload without bytes. */
async function begin(world: World): Promise<string> {
  const request = { method: "POST", url: `${world.url()}/uploads`, headers: tus.create("begun", 1) };
  const response = await send(request);
  const id = uploadIdOf(headerOf(response, "Location") ?? "");
  if (id === undefined) throw new Error(`A creation got the status ${response.status}.`);
  return id;
}

/** Changes a byte in the newest of the simulator's files. */
function changeByte(storage: string): void {
  const paths = globSync(join(storage, "r2/*/blobs/*")).toSorted(
    (a, b) => statSync(a).mtimeMs - statSync(b).mtimeMs,
  );
  const path = paths.at(-1);
  if (path === undefined) throw new Error("There is nothing in the bucket.");
  const bytes = readFileSync(path);
  bytes[0] = (bytes[0] ?? 0) ^ 1;
  writeFileSync(path, bytes);
}
