/** A file in pieces, whose task is cut between any two of its writes. */
import { env, reset } from "cloudflare:test";
import { beforeEach, describe, expect, test } from "vitest";
import { openDraft } from "../../../src/files/index.ts";
import { Output } from "../../../src/jobs/scrape/output.ts";
import { fetchText } from "../../support/files.ts";
import { keepQuiet } from "../../support/quiet.ts";
import { TestTask } from "../../support/task-context.ts";

keepQuiet();
beforeEach(async () => {
  await reset();
});

const SPEC = { id: "pieces.txt", filename: "pieces.txt", contentType: "text/plain" };
const bytes = (text: string) => new TextEncoder().encode(text);
const open = async (task: TestTask, cutAt?: number) =>
  Output.open<number, string>(env, task.context(cutAt), SPEC);
const draftOf = async (task: TestTask) => openDraft(env, { ...SPEC, task: task.id });

describe("an output", () => {
  test("of a new task has no position, and is the file when it is finished", async () => {
    const output = await open(new TestTask());
    expect([output.position, output.redo, output.isFinished]).toEqual([undefined, undefined, false]);
    await output.write(bytes("a"), 1, "do a");
    await output.write(bytes("b"), 2, "do b");
    expect(await output.finish()).toMatchObject({ id: "pieces.txt", size: 2 });
    expect((await fetchText("/files/pieces.txt")).text).toBe("ab");
  });

  test("goes on after the last piece that arrived", async () => {
    const task = new TestTask();
    await (await open(task)).write(bytes("a"), 1, "do a");
    const again = await open(task);
    expect([again.position, again.redo]).toEqual([1, undefined]);
    await again.write(new Uint8Array(), 2, "nothing to do");
    const third = await open(task);
    expect([third.position, third.redo]).toEqual([2, undefined]);
  });

  test("does again what a piece was made of that did not arrive", async () => {
    const task = new TestTask();
    await (await open(task)).write(bytes("a"), 1, "do a");
    // The second moment of a run is after the checkpoint, before the piece.
    const cut = await open(task, 2);
    await expect(cut.write(bytes("b"), 2, "do b")).rejects.toThrow("cut at moment 2");
    const again = await open(task);
    expect([again.position, again.redo]).toEqual([2, "do b"]);
    await again.write(bytes("B"), 2, "do b");
    await again.finish();
    expect((await fetchText("/files/pieces.txt")).text).toBe("aB");
  });

  test.each<[string, (task: TestTask) => Promise<void>]>([
    ["has a part of a piece", async (task) => (await draftOf(task)).append(bytes("x"))],
    ["is gone", async (task) => (await draftOf(task)).discard()],
  ])("whose draft %s begins anew", async (_, spoil) => {
    const task = new TestTask();
    await (await open(task)).write(bytes("abc"), 1, "do abc");
    await spoil(task);
    const again = await open(task);
    if (again.position === undefined) expect(again.redo).toBeUndefined();
    // From the first piece on nothing is lost but that piece.
    else expect([again.position, again.redo]).toEqual([1, "do abc"]);
    await again.write(bytes("abc"), 1, "do abc");
    await again.finish();
    expect((await fetchText("/files/pieces.txt")).text).toBe("abc");
  });

  test("that is finished says so", async () => {
    const task = new TestTask();
    const output = await open(task);
    await output.write(bytes("a"), 1, "do a");
    await output.finish();
    expect((await open(task)).isFinished).toBe(true);
  });
});
