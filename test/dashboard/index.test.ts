import { expect, test } from "vitest";
import { callForJson, callWorker } from "../support/call.ts";

test("GET / is an index of every route in the OpenAPI document", async () => {
  const { response } = await callWorker("/");
  const page = await response.text();
  expect(response.headers.get("Content-Type")).toContain("text/html");
  const { body } = await callForJson("/openapi.json");
  for (const path of Object.keys(body.paths as object)) expect(page).toContain(`<code>${path}</code>`);
});
