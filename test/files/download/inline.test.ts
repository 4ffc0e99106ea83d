import { describe, expect, test } from "vitest";
import { INLINE_TYPES, inlineType } from "../../../src/files/download/inline.ts";
import { passiveContentPolicy } from "../../../src/kernel/passive-content.ts";

describe("a file may be shown", () => {
  test.each([
    ["text/plain", "text/plain; charset=utf-8"],
    ["text/plain; charset=iso-8859-1", "text/plain; charset=iso-8859-1"],
    ["image/avif", "image/avif"],
    ["image/bmp", "image/bmp"],
    ["image/x-ms-bmp", "image/bmp"],
    ["image/jpg", "image/jpeg"],
    ["audio/mpeg", "audio/mpeg"],
    ["audio/mp3", "audio/mpeg"],
    ["audio/x-m4a", "audio/mp4"],
    ["audio/x-aac", "audio/aac"],
    ["audio/x-flac", "audio/flac"],
    ["audio/wav", "audio/wav"],
    ["audio/x-wav", "audio/wav"],
    ["audio/wave", "audio/wav"],
    ["audio/vnd.wave", "audio/wav"],
    ["audio/vnd.wave; codec=1", "audio/wav"],
    ["audio/x-pn-wav", "audio/wav"],
    ["video/mp4; codecs=avc1", "video/mp4; codecs=avc1"],
    ["video/quicktime", "video/mp4"],
    ["video/x-m4v", "video/mp4"],
    ["application/ogg", "video/ogg"],
  ])("%s, as %s", (type, shown) => {
    expect(inlineType(type)).toBe(shown);
  });

  test.each([
    "text/html",
    "text/html; charset=utf-8",
    "text/xml",
    "text/css",
    "text/javascript",
    "text/csv",
    "image/svg+xml",
    "image/x.y+xml",
    "application/xhtml+xml",
    "application/xml",
    "application/pdf",
    "application/javascript",
    "application/octet-stream",
    "application/vnd.apple.mpegurl",
    "audio/mpegurl",
    "application/x-shockwave-flash",
    "multipart/x-mixed-replace; boundary=x",
    "message/rfc822",
    "constructor",
    "",
  ])("but not as %s", (type) => {
    expect(inlineType(type)).toBeUndefined();
  });

  test("if its type is an image, audio, video or plain text, and the policy lets it load nothing but itself", () => {
    for (const name of INLINE_TYPES) {
      const shown = String(inlineType(name));
      expect(shown).toMatch(/^(?:text\/plain; charset=utf-8|(?:image|audio|video)\/[\w.-]+)$/);
      const policy = passiveContentPolicy(shown);
      expect(policy).toMatch(/^default-src 'none'; .*sandbox(?: allow-same-origin)?$/);
      expect(policy).not.toMatch(/script|frame|object|https?:|\*|allow-scripts/);
      expect(policy.includes("media-src 'self'")).toBe(/^(?:audio|video)/.test(shown));
    }
  });
});
