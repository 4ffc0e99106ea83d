/** tus's own server for Node; stores files in the folder given as argument and prints its URL. */
import { createServer } from "node:http";
import { FileStore } from "@tus/file-store";
import { Server } from "@tus/server";

const [, , directory = ""] = process.argv;
const tus = new Server({ path: "/uploads", datastore: new FileStore({ directory }) });
const server = createServer((request, response) => {
  tus.handle(request, response).catch((error: unknown) => {
    console.error(error);
    response.destroy();
  });
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (address !== null && typeof address !== "string") console.log(`http://127.0.0.1:${address.port}`);
});
