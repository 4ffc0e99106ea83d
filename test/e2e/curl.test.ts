/** Files with curl, over real HTTP. */
import { readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { curl, hasCurl } from "../support/curl.ts";
import { temporaryFolder } from "../support/dev-server.ts";
import { type Server, sharedServer } from "../support/node/built-worker.ts";
import { bytes, expectFile, few, readFile, sha256 } from "../support/node/tus-client.ts";

const desk = temporaryFolder();
const reportPath = join(desk.path, "report.bin");
let server: Server;

beforeAll(async () => {
  writeFileSync(reportPath, bytes);
  server = await sharedServer();
});
afterAll(() => desk.remove());

describe.skipIf(!hasCurl)("curl", () => {
  const files = () => `${server.url}/files`;
  const status = ["--output", "/dev/null", "--write-out", "%{http_code}"];
  const dayFromNow = (days: number) => new Date(Date.now() + days * 86_400_000).toUTCString();
  let id = "";

  beforeAll(async () => {
    id = basename(reportPath);
    await curl(["--fail", "-T", reportPath, `${files()}/`]);
  });

  test("-T: the file has its name on disk", async () => {
    await expectFile(server.url, "report.bin", bytes);
  });

  test("-T -: the output of a pipe, of unknown length", async () => {
    const response = await curl(["--fail", "-T", "-", `${files()}/piped.bin`], bytes);
    expect(JSON.parse(response.toString())).toMatchObject({ id: "piped.bin", size: bytes.length });
    await expectFile(server.url, "piped.bin", bytes);
  });

  test("-F, one file and several, with a name that needs quoting", async () => {
    const one = await curl([
      "--fail",
      "-F",
      `file=@${reportPath};filename="a \\"b\\".bin"`,
      `${server.url}/upload-file`,
    ]);
    const stored = JSON.parse(one.toString()) as Record<string, string>;
    expect(stored).toMatchObject({ filename: 'a "b".bin', sha256: sha256(bytes) });
    await expectFile(server.url, String(stored.id), bytes);

    writeFileSync(join(desk.path, "few.bin"), few);
    const several = await curl([
      "--fail",
      "-F",
      "note=two files",
      "-F",
      `a=@${reportPath}`,
      "-F",
      `b=@${join(desk.path, "few.bin")}`,
      files(),
    ]);
    expect(JSON.parse(several.toString())).toMatchObject({
      files: [
        { field: "a", filename: "report.bin", sha256: sha256(bytes) },
        { field: "b", filename: "few.bin", sha256: sha256(few) },
      ],
      fields: [{ name: "note", value: "two files" }],
    });
  });

  test.each(["base64", "quoted-printable", "binary", "8bit"])(
    "-F, in %s: stored as the file is",
    async (encoder) => {
      writeFileSync(join(desk.path, "few.bin"), few);
      const form = `file=@${join(desk.path, "few.bin")};encoder=${encoder}`;
      const stored = await curl(["--fail", "-F", form, `${server.url}/upload-file`]);
      expect(JSON.parse(stored.toString())).toMatchObject({ size: few.length, sha256: sha256(few) });
    },
  );

  test("-T with -F's form, or with a piece: refused", async () => {
    const url = `${files()}/refused.bin`;
    const form = await curl([...status, "-X", "PUT", "-F", `file=@${reportPath}`, url]);
    const piece = await curl([...status, "-T", reportPath, "-H", "Upload-Complete: ?0", url]);
    expect([form.toString(), piece.toString()]).toEqual(["415", "400"]);
    expect((await readFile(server.url, "refused.bin")).status).toBe(404);
  });

  test.each([
    ["0-0", bytes.subarray(0, 1)],
    ["5242879-5242880", bytes.subarray(5242879, 5242881)],
    ["-1000", bytes.subarray(-1000)],
    ["11010000-", bytes.subarray(11010000)],
    ["0-", bytes],
  ])("-r %s", async (range, expected) => {
    const part = await curl(["--fail", "-r", range, `${files()}/${id}`]);
    expect([part.length, sha256(part)]).toEqual([expected.length, sha256(expected)]);
  });

  test("-C -: continues a download where it broke off", async () => {
    const partial = join(desk.path, "partial.bin");
    writeFileSync(partial, bytes.subarray(0, 7_654_321));
    const args = ["--fail", "-C", "-", "--write-out", "%{http_code} %{size_download}", "--output", partial];
    const output = await curl([...args, `${files()}/${id}`]);
    expect(output.toString()).toBe(`206 ${bytes.length - 7_654_321}`);
    expect(sha256(readFileSync(partial))).toBe(sha256(bytes));
  });

  test.each([
    ["a day ago", -1, "200"],
    ["a day from now", 1, "304"],
  ])("-z: modified since %s?", async (_, days, expected) => {
    const output = await curl([...status, "-z", dayFromNow(days), `${files()}/${id}`]);
    expect(output.toString()).toBe(expected);
  });
});
