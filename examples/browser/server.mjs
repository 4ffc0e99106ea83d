/** The application behind the page: it alone has the token of Sluice. node server.mjs */
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { Readable } from "node:stream";

const SLUICE = process.env.SLUICE_URL ?? "http://localhost:8787";
const TOKEN = process.env.SLUICE_TOKEN;
const LINK_LIFETIME_S = 3600;

async function callSluice(path, init) {
  const headers = { ...init.headers, ...(TOKEN && { Authorization: `Bearer ${TOKEN}` }) };
  const response = await fetch(new URL(path, SLUICE), { ...init, headers });
  if (response.ok) return response.json();
  const problem = await response.json().catch(() => ({}));
  throw new Error(problem.detail ?? `Sluice responds with ${response.status}.`);
}

/** Passes the file on as it comes, with a task for it. Returns the URL of the events of that task. */
async function upload(request) {
  // An id of ours: a visitor's file name must not replace another one's file.
  const file = await callSluice(`/files/${randomUUID()}?task=hash_file`, {
    method: "PUT",
    headers: { "Content-Type": request.headers["content-type"] ?? "application/octet-stream" },
    body: Readable.toWeb(request),
    duplex: "half",
  });
  const { url } = await callSluice(`/tasks/${file.task.id}/events/links`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ expires_in: LINK_LIFETIME_S }),
  });
  return { size: file.size, events: url };
}

const server = createServer(async (request, response) => {
  const send = (status, type, body) => response.writeHead(status, { "Content-Type": type }).end(body);
  try {
    if (request.method === "PUT" && request.url === "/upload")
      send(200, "application/json", JSON.stringify(await upload(request)));
    else if (request.url === "/")
      send(200, "text/html; charset=utf-8", await readFile(new URL("page.html", import.meta.url)));
    else send(404, "text/plain", "There is nothing here.");
  } catch (error) {
    send(502, "application/json", JSON.stringify({ error: error.message }));
  }
});
server.listen(Number(process.env.PORT ?? 3000), () => {
  console.log(`listening on http://localhost:${server.address().port}`);
});
