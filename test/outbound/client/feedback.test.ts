/** What a response says about its upstream. */
import { describe, expect, test } from "vitest";
import { feedbackOn, readRetryAfter } from "../../../src/outbound/client/feedback.ts";
import { captureLogs } from "../../support/call.ts";
import { parseUpstream } from "../../support/upstreams.ts";

describe("what counts", () => {
  test.each([
    [101, "ok"],
    [200, "ok"],
    [304, "ok"],
    [400, "ok"],
    [404, "ok"],
    [408, "ok"],
    [429, "overloaded"],
    [500, "failed"],
    [501, "ok"],
    [502, "failed"],
    [503, "failed"],
    [504, "failed"],
    [505, "ok"],
    [507, "failed"],
    [508, "ok"],
    [510, "ok"],
    [511, "failed"],
    [599, "failed"],
  ])("%i is %s", (status, outcome) => {
    expect(feedbackOn(status, undefined)).toEqual({ outcome });
  });

  test.each([429, 503])("%i with Retry-After is overload, for as long as is left of it", (status) => {
    const feedback = feedbackOn(status, Date.now() + 5000);
    expect(feedback.outcome).toBe("overloaded");
    expect(feedback.retryAfterMs).toBeGreaterThan(4000);
    expect(feedback.retryAfterMs).toBeLessThanOrEqual(5000);
    expect(feedbackOn(status, Date.now() - 1)).toEqual({ outcome: "overloaded", retryAfterMs: 0 });
  });

  test.each([200, 301, 404, 500])("%i with Retry-After says nothing else than without", (status) => {
    expect(feedbackOn(status, Date.now() + 5000)).toEqual(feedbackOn(status, undefined));
  });
});

describe("Retry-After", () => {
  const api = parseUpstream({ origin: "https://api.example.com" });
  const read = async (value: string) =>
    captureLogs(async () => readRetryAfter(new Headers({ "Retry-After": value }), api));

  test.each([
    () => "5",
    () => new Date(Date.now() + 5900).toUTCString(),
    () => {
      // Sun Nov  6 08:49:37 1994
      const [day, date, month, year, time] = new Date(Date.now() + 5900).toUTCString().split(/,? /);
      return `${day} ${month} ${String(Number(date)).padStart(2)} ${time} ${year}`;
    },
  ])("in form %# is the time at which to call again", async (value) => {
    const { value: atMs, lines } = await read(value());
    expect(Math.abs((atMs ?? 0) - Date.now() - 5000)).toBeLessThan(1500);
    expect(lines).toEqual([]);
  });

  test.each(["", "soon", "-1", "1.5", "2026-11-26T12:00:00Z", "x".repeat(1000)])(
    "%j is ignored, and logged",
    async (value) => {
      const { value: atMs, lines } = await read(value);
      expect(atMs).toBeUndefined();
      expect(lines).toEqual([
        expect.objectContaining({ level: "warn", upstream: "api", retryAfter: value.slice(0, 100) }),
      ]);
    },
  );

  test("that is absent is not missed", async () => {
    const { value, lines } = await captureLogs(async () => readRetryAfter(new Headers(), api));
    expect([value, lines]).toEqual([undefined, []]);
  });
});
