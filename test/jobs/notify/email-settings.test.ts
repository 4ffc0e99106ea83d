import { env } from "cloudflare:test";
import { describe, expect, test } from "vitest";
import {
  emailUnavailable,
  readEmailSettings,
  recipientError,
  senderError,
} from "../../../src/jobs/notify/email-settings.ts";

const read = (variables: object) =>
  readEmailSettings({ ...env, EMAIL_RECIPIENTS: undefined, EMAIL_FROM: undefined, ...variables } as never);

describe("the recipients", () => {
  const settings = read({ EMAIL_RECIPIENTS: ["Ada@Example.com", "*@sluice.example"] });

  test.each(["ada@example.com", "ADA@EXAMPLE.COM", "anybody@sluice.example", "any.body@SLUICE.example"])(
    "%s may get e-mail",
    (address) => expect(recipientError(settings, address)).toBeUndefined(),
  );

  test.each(["bob@example.com", "a@x.sluice.example", "a@sluice.example.org", "*@sluice.example.org"])(
    "%s may not",
    (address) => expect(recipientError(settings, address)).toContain(address),
  );

  test("are nobody by default", () => {
    expect(recipientError(read({}), "ada@example.com")).toContain("nobody");
    expect(recipientError(read({ EMAIL_RECIPIENTS: [] }), "ada@example.com")).toContain("EMAIL_RECIPIENTS");
  });
});

test("the senders are those of EMAIL_FROM", () => {
  const settings = read({ EMAIL_FROM: '["Reports@example.com"]' });
  expect(senderError(settings, "reports@Example.com")).toBeUndefined();
  expect(senderError(settings, "eve@example.com")).toContain("reports@example.com");
  expect(senderError(read({}), "eve@example.com")).toContain("empty");
});

describe("a variable is wrong", () => {
  test.each([
    "*",
    "*@",
    "*@com",
    "*@*.example",
    "*@example..com",
    "a@b",
    "@example.com",
    "a b@example.com",
    "Ada <ada@example.com>",
    "*@evil.example\n",
  ])("with the recipient %j", (text) =>
    expect(() => read({ EMAIL_RECIPIENTS: [text] })).toThrow("EMAIL_RECIPIENTS"),
  );

  test.each([["*@example.com"], ["reports"], "reports@example.com"])("with the senders %j", (senders) => {
    expect(() => read({ EMAIL_FROM: senders })).toThrow("EMAIL_FROM");
  });
});

test("without the binding, or without a sender, no e-mail can be sent, and it says why", () => {
  expect(emailUnavailable(env)).toBeUndefined();
  expect(emailUnavailable({ ...env, EMAIL: undefined } as never)).toContain("[[send_email]]");
  expect(emailUnavailable({ ...env, EMAIL_FROM: [] })).toContain("EMAIL_FROM");
});
