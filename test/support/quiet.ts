/** Keeps what is logged during each test of a file off the console, also when it comes after the call is over. */
import { afterEach, beforeEach, vi } from "vitest";

export function keepQuiet(): void {
  beforeEach(() => {
    for (const level of ["info", "warn", "error"] as const) vi.spyOn(console, level).mockReturnValue();
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });
}
