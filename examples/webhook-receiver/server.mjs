/** Receives the callbacks of Sluice: CALLBACK_KEY=whsec_… PORT=3000 node server.mjs */
import { createServer } from "node:http";
import { text } from "node:stream/consumers";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.CALLBACK_KEY ?? "");
const MAX_BYTES = 10 * 1024 * 1024;

/** The ids of the messages that were handled, or are being handled. */
const handled = new Set();

/** What your application does when a task has ended. */
async function handle({ type, data: task }) {
  console.log(`${type} ${task.id} ${JSON.stringify(task.result)}`);
}

async function receive(request) {
  if (request.method !== "POST") return 405;
  if (Number(request.headers["content-length"] ?? 0) > MAX_BYTES) return 413;
  const body = await text(request);
  const id = request.headers["webhook-id"];
  try {
    webhook.verify(body, request.headers);
  } catch {
    return 401;
  }
  if (handled.has(id)) return 204;
  handled.add(id);
  try {
    await handle(JSON.parse(body));
    return 204;
  } catch (error) {
    handled.delete(id);
    console.error(error);
    return 500;
  }
}

const server = createServer(async (request, response) => {
  response.writeHead(await receive(request).catch(() => 400)).end();
});
server.listen(Number(process.env.PORT ?? 3000), () => {
  console.log(`listening on ${server.address().port}`);
});
