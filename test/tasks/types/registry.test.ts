/** The registry of task types: which types can be found, and which of them callers may start. */
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { CALLBACK_TYPE, defineTask } from "../../../src/tasks/types/define.ts";
import {
  findOpenTaskType,
  findTaskType,
  openTaskTypes,
  registerTaskTypes,
} from "../../../src/tasks/types/registry.ts";

const type = (name: string, more = {}) =>
  defineTask({ name, input: z.unknown(), run: async () => null, ...more });
const second = type("registry-2");
const first = type("registry-1");
const callback = type(CALLBACK_TYPE);

test("a registered type is found by its name, and types are listed by name", () => {
  expect([findTaskType("registry-1"), findOpenTaskType("registry-1")]).toEqual([undefined, undefined]);
  registerTaskTypes([second, first]);
  expect([findTaskType("registry-1"), findOpenTaskType("registry-2")]).toEqual([first, second]);
  const names = openTaskTypes().map(({ name }) => name);
  expect(names).toEqual(names.toSorted());
  expect(names.filter((name) => name.startsWith("registry-"))).toEqual(["registry-1", "registry-2"]);
});

test.each(["toString", "__proto__", "Registry-1", ""])("no type is found as %j", (name) => {
  expect([findTaskType(name), findOpenTaskType(name)]).toEqual([undefined, undefined]);
});

describe("registering", () => {
  test("rejects a name that is taken, in the same list or earlier", () => {
    const two = [type("registry-3"), type("registry-3")];
    expect(() => registerTaskTypes(two)).toThrow('two task types "registry-3"');
    expect(() => registerTaskTypes([type("registry-1")])).toThrow('two task types "registry-1"');
    expect(findTaskType("registry-1")).toBe(first);
    expect(() => registerTaskTypes([type("registry-4")])).not.toThrow();
  });

  test("rejects a concurrency for callbacks, which are on the shard of their task", () => {
    expect(() => registerTaskTypes([type(CALLBACK_TYPE, { concurrency: 1 })])).toThrow(
      "cannot have a concurrency",
    );
  });
});

test("the callback type can be run, but callers cannot start it", () => {
  if (findTaskType(CALLBACK_TYPE) === undefined) registerTaskTypes([callback]);
  expect(findTaskType(CALLBACK_TYPE)?.name).toBe(CALLBACK_TYPE);
  expect(findOpenTaskType(CALLBACK_TYPE)).toBeUndefined();
  expect(openTaskTypes().map(({ name }) => name)).not.toContain(CALLBACK_TYPE);
});
