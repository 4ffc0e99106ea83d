/** Submits a task and follows it until it has ended: node main.ts */
import { randomUUID } from "node:crypto";
import { call, follow } from "./client.ts";

const connection = {
  url: process.env.SLUICE_URL ?? "http://localhost:8787",
  token: process.env.SLUICE_TOKEN,
};

const submitted = await call(connection, "post", "/tasks", {
  body: { type: "task_a", input: {} },
  // The same task, however often this has to be sent.
  headers: { "Idempotency-Key": `"${randomUUID()}"` },
});
// A batch has several.
if (!("id" in submitted)) throw new Error("One task was submitted.");

for await (const { id, name, data } of follow(connection, submitted.id)) console.log(id, name, data);

const task = await call(connection, "get", "/tasks/{id}", { path: { id: submitted.id } });
console.log(task.status, task.result);
