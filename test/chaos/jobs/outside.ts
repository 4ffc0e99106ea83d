/**
 * What the jobs call: a website, a list in pages, a shop that takes orders and files, and a receiver of webhooks. It is outside
 * the runtime, lives through all kills, is slow on purpose, and keeps what it was sent.
 */
import { createHash } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";

/** What a kill can follow closely: that a call of this kind has arrived. */
export type Moment = "page" | "item" | "order" | "store" | "webhook" | "download";

/** A call that carries something, as far as it arrived. */
export interface Received {
  kind: "order" | "store" | "webhook";
  /** Its path: each job has its own. */
  path: string;
  /** The Idempotency-Key, or the `webhook-id`. */
  key: string;
  /** Whether the body came to its end. */
  isWhole: boolean;
  sha256: string;
  /** Of an order and a webhook. */
  text: string;
}

/** The pages of a site, and what they are called. Page n links to 2n + 1 and 2n + 2, to the root and to itself. */
export const PAGES = 150;
const PAGE_MS = 120;
/** The items of the list, in pages of so many. */
export const ITEMS = 1_000;
const ITEMS_PER_PAGE = 25;
const ITEMS_MS = 90;
const ORDER_MS = 1_200;
const WEBHOOK_MS = 900;
/** Of a file that is taken in: the pause for each chunk. */
const CHUNK_MS = 15;
const DOWNLOAD_BYTES = 3_000_000;
const DOWNLOAD_CHUNKS = 30;
const DOWNLOAD_MS = 70;

export class Outside implements AsyncDisposable {
  readonly received: Received[] = [];
  readonly #moments = new EventEmitter().setMaxListeners(0);
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      this.#respond(request, response).catch(() => response.destroy());
    });
  }

  static async open(): Promise<Outside> {
    const outside = new Outside();
    await once(outside.#server.listen(0, "127.0.0.1"), "listening");
    return outside;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Waits for the n-th call of a kind from now on. False if there are fewer in that time. */
  async awaitCalls(moment: Moment, n: number, maxMs: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), maxMs);
    let left = n;
    const count = () => {
      if (--left === 0) resolve(true);
    };
    this.#moments.on(moment, count);
    const isThere = await promise;
    this.#moments.off(moment, count);
    clearTimeout(timer);
    return isThere;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(String(request.url), this.origin);
    const [, kind = "", name = ""] = pathname.split("/");
    switch (kind) {
      case "site":
        return this.#page(Number(name || 0), response);
      case "items":
        return this.#items(Number(searchParams.get("page") ?? 1), response);
      case "orders":
        return this.#take("order", request, response, ORDER_MS);
      case "store":
        return this.#take("store", request, response, 0);
      case "hooks":
        return this.#take("webhook", request, response, WEBHOOK_MS);
      case "download":
        return this.#download(name, response);
      default:
        response.writeHead(404).end();
    }
  }

  async #page(n: number, response: ServerResponse): Promise<void> {
    this.#moments.emit("page");
    await sleep(PAGE_MS);
    const links = [0, n, 2 * n + 1, 2 * n + 2].filter((to) => to < PAGES);
    const anchors = links.map((to) => `<a href="/site/${to === 0 ? "" : to}">page ${to}</a>`);
    response.setHeader("Content-Type", "text/html; charset=utf-8");
    response.end(`<!doctype html><title>${titleOf(n)}</title><p>This is page ${n}.</p>${anchors.join(" ")}`);
  }

  async #items(page: number, response: ServerResponse): Promise<void> {
    this.#moments.emit("item");
    await sleep(ITEMS_MS);
    const first = (page - 1) * ITEMS_PER_PAGE;
    const items = Array.from({ length: ITEMS_PER_PAGE }, (_, i) => ({
      id: first + i,
      price: `${first + i}.50`,
    }));
    if (first + ITEMS_PER_PAGE < ITEMS) response.setHeader("Link", `</items?page=${page + 1}>; rel="next"`);
    response.setHeader("Content-Type", "application/json").end(JSON.stringify(items));
  }

  /** Takes in a body slowly, and keeps what it was, also if it breaks off. */
  async #take(
    kind: Received["kind"],
    request: IncomingMessage,
    response: ServerResponse,
    pauseMs: number,
  ): Promise<void> {
    const { headers, url: path = "" } = request;
    const key = String(headers[kind === "webhook" ? "webhook-id" : "idempotency-key"] ?? "");
    const received: Received = { kind, path, key, isWhole: false, sha256: "", text: "" };
    this.received.push(received);
    this.#moments.emit(kind);
    if (kind === "store") {
      const hash = createHash("sha256");
      for await (const chunk of request) {
        hash.update(chunk as Buffer);
        await sleep(CHUNK_MS);
      }
      received.sha256 = hash.digest("hex");
    } else received.text = (await buffer(request)).toString();
    // A body that broke off has thrown.
    received.isWhole = true;
    await sleep(pauseMs);
    response.setHeader("Content-Type", "application/json");
    response.end(JSON.stringify({ path, key, sha256: received.sha256 }));
  }

  async #download(name: string, response: ServerResponse): Promise<void> {
    this.#moments.emit("download");
    const bytes = downloadOf(name);
    response.writeHead(200, {
      "Content-Type": "application/octet-stream",
      "Content-Length": bytes.length,
    });
    const step = bytes.length / DOWNLOAD_CHUNKS;
    for (let at = 0; at < bytes.length; at += step) {
      response.write(bytes.subarray(at, at + step));
      await sleep(DOWNLOAD_MS);
    }
    response.end();
  }
}

export const titleOf = (n: number): string => `Page ${n} of the site`;

/** What is downloaded under a name. */
export const downloadOf = (name: string): Buffer => Buffer.alloc(DOWNLOAD_BYTES, `${name} `);
