/**
 * Builds what browsers load into dist/assets, which `[assets]` in wrangler.toml serves: the script and style of the
 * dashboard, and for /docs a style and the three files of Swagger UI that it needs. wrangler runs it before each build, and
 * `npm ci` once.
 *
 * A file that is as it should be is left alone: a server that runs meanwhile never misses it.
 */
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { build } from "esbuild";

const ROOT = join(import.meta.dirname, "..");
const ASSETS = join(ROOT, "dist/assets");
const SWAGGER_UI = join(ROOT, "node_modules/swagger-ui-dist");

const { outputFiles } = await build({
  entryPoints: {
    "app/main": join(ROOT, "src/dashboard/page/main.tsx"),
    "app/style": join(ROOT, "src/dashboard/page/style.css"),
    "docs/style": join(ROOT, "src/docs/style.css"),
  },
  outdir: ASSETS,
  bundle: true,
  splitting: true,
  format: "esm",
  target: ["es2024"],
  minify: true,
  jsx: "automatic",
  jsxImportSource: "preact",
  // What is loaded on demand changes its name with its content, so that browsers may keep it.
  chunkNames: "app/[name]-[hash]",
  logLevel: "warning",
  write: false,
});
const files = new Map(outputFiles.map(({ path, contents }) => [path, contents]));
for (const name of ["swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-bundle.js.LICENSE.txt"])
  files.set(join(ASSETS, "docs", name), await readFile(join(SWAGGER_UI, name)));

for (const [path, contents] of files) {
  const kept = await readFile(path).catch(() => undefined);
  if (kept?.equals(contents)) continue;
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, contents);
}
for (const entry of await readdir(ASSETS, { recursive: true, withFileTypes: true })) {
  const path = join(entry.parentPath, entry.name);
  if (entry.isFile() && !files.has(path)) await rm(path);
}
