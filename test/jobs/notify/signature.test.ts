import { createHmac } from "node:crypto";
import { Webhook } from "standardwebhooks";
import { describe, expect, test } from "vitest";
import { signMessage } from "../../../src/jobs/notify/signature.ts";

const NEW_KEY = `whsec_${btoa("new key, of the tests, 32 bytes.")}`;
const OTHER_KEY = `whsec_${btoa("some other key, of 32 bytes, too")}`;

describe("the signature", () => {
  const example = {
    key: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
    sentAt: new Date(1_614_265_330_000),
    message: '{"test": 2432232314}',
  };
  const byHand = (key: string, id: string, timestamp: string, message: string) => {
    const hmac = createHmac("sha256", Buffer.from(key.replace("whsec_", ""), "base64"));
    return `v1,${hmac.update(`${id}.${timestamp}.${message}`).digest("base64")}`;
  };

  test("matches the example that the Standard Webhooks libraries share, with or without a fraction of a second", () => {
    const { key, id, sentAt, message } = example;
    const headers = {
      "webhook-id": id,
      "webhook-timestamp": "1614265330",
      "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    };
    expect(byHand(key, id, "1614265330", message)).toBe(headers["webhook-signature"]);
    for (const ms of [0, 999])
      expect(signMessage([key], id, new Date(sentAt.getTime() + ms), message)).toEqual(headers);
  });

  test("has one part for each key, the newest first, over the bytes of the message", () => {
    const { key, id, sentAt } = example;
    const message = JSON.stringify({ name: "röntgen 🩻", lone: "\ud800" });
    const each = [NEW_KEY, key].map((signer) => byHand(signer, id, "1614265330", message));
    expect(signMessage([NEW_KEY, key], id, sentAt, message)["webhook-signature"]).toBe(each.join(" "));
  });

  test("verifies with either key, and neither with another key nor for another message", () => {
    const body = '{"name":"röntgen 🩻"}';
    const now = new Date();
    const headers = signMessage([NEW_KEY, example.key], "msg_1", now, body);
    for (const key of [NEW_KEY, example.key])
      expect(new Webhook(key).verify(body, headers)).toEqual({ name: "röntgen 🩻" });
    const wrong = "No matching signature";
    expect(() => new Webhook(OTHER_KEY).verify(body, headers)).toThrow(wrong);
    expect(() => new Webhook(NEW_KEY).verify(`${body} `, headers)).toThrow(wrong);
    const second = String(Number(headers["webhook-timestamp"]) - 1);
    for (const changed of [{ "webhook-id": "msg_2" }, { "webhook-timestamp": second }])
      expect(() => new Webhook(NEW_KEY).verify(body, { ...headers, ...changed })).toThrow(wrong);
  });
});
