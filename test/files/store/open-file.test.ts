import { env, reset } from "cloudflare:test";
import { beforeEach, expect, test } from "vitest";
import { openFile } from "../../../src/files/store/open-file.ts";
import { putFile, sha256 } from "../../support/files.ts";

beforeEach(() => reset());

test("a file is opened, with what is known of it", async () => {
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
  };
  const file = await openFile(env, "a");
  expect([file?.info, await new Response(file?.body).text()]).toEqual([info, "hello"]);
});

test("where there is none, none is opened", async () => {
  expect(await openFile(env, "a")).toBeUndefined();
});
