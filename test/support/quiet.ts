/** Keeps the log of each test of a file off the console, also what is logged after a call has ended. */
import { afterEach, beforeEach, vi } from "vitest";

export function keepQuiet(): void {
  beforeEach(() => {
    for (const level of ["info", "warn", "error"] as const) vi.spyOn(console, level).mockReturnValue();
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });
}
