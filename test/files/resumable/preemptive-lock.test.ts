import { describe, expect, test } from "vitest";
import { PreemptiveLock } from "../../../src/files/resumable/preemptive-lock.ts";

/** Lets everything finish that waits only for promises. */
const rest = async () => scheduler.wait(0);

/** Pieces of work that log when they begin and end; each runs until it is ended or stopped. */
function workshop() {
  const lock = new PreemptiveLock();
  const log: string[] = [];
  const ends = new Map<string, () => void>();
  let [running, maxRunning] = [0, 0];
  const begin = async (name: string, endsWhenStopped = true) =>
    lock.run(async (stopped) => {
      log.push(`${name} begins`);
      maxRunning = Math.max(maxRunning, ++running);
      const { promise, resolve } = Promise.withResolvers<void>();
      ends.set(name, resolve);
      stopped.addEventListener("abort", () => {
        log.push(`${name} is stopped`);
        if (endsWhenStopped) resolve();
      });
      if (stopped.aborted) log.push(`${name} was stopped before`);
      await promise;
      running--;
      log.push(`${name} ends`);
      return name;
    });
  return { lock, log, begin, end: (name: string) => ends.get(name)?.(), max: () => maxRunning };
}

test("a single caller begins at once, is not stopped, and gets its result", async () => {
  const { log, begin, end } = workshop();
  const only = begin("a");
  expect(log).toEqual(["a begins"]);
  end("a");
  expect(await only).toBe("a");
  expect(log).toEqual(["a begins", "a ends"]);
});

test("a caller that comes after the one before has ended stops nothing", async () => {
  const { log, begin, end } = workshop();
  for (const name of ["a", "b"]) {
    const work = begin(name);
    end(name);
    await work;
  }
  expect(log).toEqual(["a begins", "a ends", "b begins", "b ends"]);
});

test("a new caller stops the current one, and begins only when that has ended", async () => {
  const { log, begin, end } = workshop();
  const older = begin("a", false);
  const newer = begin("b");
  await rest();
  expect(log).toEqual(["a begins", "a is stopped"]);
  end("a");
  expect(await older).toBe("a");
  await rest();
  expect(log).toEqual(["a begins", "a is stopped", "a ends", "b begins"]);
  end("b");
  expect(await newer).toBe("b");
});

describe("of many concurrent callers", () => {
  const names = ["a", "b", "c", "d", "e"];

  test("the last one keeps the lock, and each of the others is stopped once", async () => {
    const { log, begin, end, max } = workshop();
    const works = names.map(async (name) => begin(name));
    expect(await Promise.all(works.slice(0, -1))).toEqual(names.slice(0, -1));
    await rest();
    expect(log).toEqual([
      ...names.slice(0, -1).flatMap((name) => [`${name} begins`, `${name} is stopped`, `${name} ends`]),
      "e begins",
    ]);
    expect(max()).toBe(1);
    end("e");
    expect(await Promise.all(works)).toEqual(names);
  });

  test("the current one is stopped once, however long it takes to end", async () => {
    const { log, begin, end } = workshop();
    const works = ["a", "b", "c", "d"].map(async (name) => begin(name, name !== "a"));
    await rest();
    expect(log).toEqual(["a begins", "a is stopped"]);
    end("a");
    await rest();
    end("d");
    await Promise.all(works);
    expect(log.filter((line) => line === "a is stopped")).toHaveLength(1);
    expect(log.at(-1)).toBe("d ends");
  });
});

test("a caller that comes while others wait goes after them and is the last", async () => {
  const { log, begin, end } = workshop();
  const works = [begin("a", false), begin("b")];
  await rest();
  works.push(begin("c"));
  end("a");
  await rest();
  end("c");
  await Promise.all(works);
  expect(log.filter((line) => line.endsWith("begins"))).toEqual(["a begins", "b begins", "c begins"]);
  expect(log).toContain("b is stopped");
  expect(log).not.toContain("c is stopped");
});

describe("work that throws", () => {
  test.each<[string, () => Promise<never>]>([
    ["at once", () => Promise.reject(new Error("broken"))],
    [
      "before it has a promise",
      () => {
        throw new Error("broken");
      },
    ],
    [
      "later",
      async () => {
        await rest();
        throw new Error("broken");
      },
    ],
  ])("%s rejects only for its caller, and lets the next begin", async (_when, work) => {
    const { lock, begin, end } = workshop();
    const broken = expect(lock.run(work)).rejects.toThrow("broken");
    const next = begin("next");
    await broken;
    await rest();
    end("next");
    expect(await next).toBe("next");
  });

  test("because it was stopped lets the caller begin that stopped it", async () => {
    const lock = new PreemptiveLock();
    const older = expect(
      lock.run(
        async (stopped) =>
          new Promise((_, reject) => {
            stopped.addEventListener("abort", () => reject(new Error("stopped")));
          }),
      ),
    ).rejects.toThrow("stopped");
    expect(await lock.run(async (stopped) => stopped.aborted)).toBe(false);
    await older;
  });
});
