/// <reference types="vite/types/importMeta.d.ts" />
/** The list of task types. */
import { describe, expect, test } from "vitest";
import { TASK_TYPES } from "../../src/jobs/task-types.ts";
import type { TaskType } from "../../src/tasks/index.ts";
import { findTaskType } from "../../src/tasks/types/registry.ts";

const modules = import.meta.glob<Record<string, unknown>>("../../src/jobs/**/*.ts", { eager: true });

const isTaskType = (value: unknown): value is TaskType =>
  typeof value === "object" &&
  value !== null &&
  ["name", "input", "run", "retry", "lane"].every((key) => Object.hasOwn(value, key));

const exported = Object.entries(modules).flatMap(([path, module]) =>
  Object.values(module)
    .filter(isTaskType)
    .map((type) => ({ path, type })),
);

test("the rule below sees the types of Sluice itself", () => {
  expect(exported.map(({ type }) => type.name)).toEqual(
    expect.arrayContaining(["task_a", "verify_file", "callback"]),
  );
});

describe("every type that is exported from src/jobs", () => {
  test.each(exported)("is in the list, and can run: $type.name", ({ type }) => {
    expect(TASK_TYPES).toContain(type);
    expect(findTaskType(type.name)).toBe(type);
  });
});

test("the list has each name once", () => {
  const names = TASK_TYPES.map(({ name }) => name);
  expect(names).toEqual([...new Set(names)]);
});
