/**
 * Builds what browsers load into dist/assets, which `[assets]` in wrangler.toml serves: the script and style of the
 * dashboard, and for /docs a style and the three files of Swagger UI that it needs. wrangler runs it before each build, and `npm ci` once.
 */
import { copyFile, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";

const ROOT = join(import.meta.dirname, "..");
const ASSETS = join(ROOT, "dist/assets");
const SWAGGER_UI = join(ROOT, "node_modules/swagger-ui-dist");

await rm(ASSETS, { recursive: true, force: true });
await mkdir(join(ASSETS, "docs"), { recursive: true });
await build({
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
});
for (const file of ["swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-bundle.js.LICENSE.txt"])
  await copyFile(join(SWAGGER_UI, file), join(ASSETS, "docs", file));
