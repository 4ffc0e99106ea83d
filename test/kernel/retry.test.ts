import { expect, test } from "vitest";
import { retry } from "../../src/kernel/retry.ts";

/** An action that fails `failures` times, then returns how often it was tried. */
function flaky(failures: number) {
  let tries = 0;
  return async () => {
    if (++tries <= failures) throw new Error(`failure ${tries}`);
    return tries;
  };
}

test.each([
  [0, 1],
  [1, 2],
  [2, 3],
])("after %i failures, try %i succeeds", async (failures, tries) => {
  expect(await retry(flaky(failures), [1, 1])).toBe(tries);
});

test("when every try fails, the last failure is thrown", async () => {
  await expect(retry(flaky(9), [1, 1])).rejects.toThrow("failure 3");
});
