import { env, reset } from "cloudflare:test";
import { beforeEach, expect, test } from "vitest";
import { findFile, openFile } from "../../src/files/open.ts";
import { etagFor, putFile, sha256 } from "../support/files.ts";

beforeEach(() => reset());

test("a file is found, and opened, with what is known of it", async () => {
  await putFile("a", "hello", {
    headers: {
      "Content-Type": "text/plain",
      "Content-Disposition": "attachment; filename*=UTF-8''%C3%A4.txt",
    },
  });
  const info = {
    id: "a",
    filename: "ä.txt",
    contentType: "text/plain",
    size: 5,
    sha256: sha256("hello"),
    etag: etagFor("hello"),
  };
  expect(await findFile(env, "a")).toEqual(info);
  const file = await openFile(env, "a");
  expect([file?.info, await new Response(file?.body).text()]).toEqual([info, "hello"]);
});

test("where there is none, none is found", async () => {
  expect([await findFile(env, "a"), await openFile(env, "a")]).toEqual([undefined, undefined]);
});
