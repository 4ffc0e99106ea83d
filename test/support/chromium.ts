/** Chromium, to see what a browser really does with a response. Spoken to over its own protocol (CDP), without a driver. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const NAMES = ["chromium", "chromium-browser", "google-chrome"].flatMap((name) => [`/usr/bin/${name}`, name]);
/** The name of its program; undefined where there is none. */
export const CHROMIUM = NAMES.find((name) => spawnSync(name, ["--version"]).status === 0);

/** Whether this machine has it; without it, the tests that need it are skipped. */
export const hasChromium = CHROMIUM !== undefined;

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-extensions",
  "--disable-features=BackForwardCache,SpareRendererForSitePerProcess",
  "--renderer-process-limit=1",
  "--mute-audio",
  "--remote-debugging-port=0",
  // Nothing but this machine can be reached, also under the name of somebody else.
  "--host-resolver-rules=MAP rebound.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
];

/** How long a document may take to show what a visit waits for. */
const MAX_WAIT_MS = 10_000;
const POLL_MS = 30;

type Message = {
  id?: number;
  method?: string;
  params?: Record<string, unknown>;
  result?: unknown;
  error?: { message: string };
};

/** What became of a URL that a tab was sent to. */
export interface Visit {
  /** Whether the browser saves it instead of showing it. */
  isDownload: boolean;
  /** What the browser has written to its console, e.g. that a policy has blocked something. */
  messages: string[];
  /** The value of an expression in the document that is shown; undefined after a download. */
  value: unknown;
}

export class Chromium {
  readonly #socket: WebSocket;
  readonly #close: () => Promise<void>;
  readonly #answers = new Map<number, (message: Message) => void>();
  readonly #listeners = new Set<(message: Message) => void>();
  #lastId = 0;
  /** The session of its tab. */
  #tab = "";

  private constructor(socket: WebSocket, close: () => Promise<void>) {
    this.#socket = socket;
    this.#close = close;
    socket.addEventListener("message", ({ data }) => {
      const message = JSON.parse(String(data)) as Message;
      if (message.id !== undefined) this.#answers.get(message.id)?.(message);
      else for (const listener of this.#listeners) listener(message);
    });
  }

  static async start(): Promise<Chromium> {
    const profile = mkdtempSync(join(tmpdir(), "sluice-chromium-"));
    const child = spawn(String(CHROMIUM), [...FLAGS, `--user-data-dir=${profile}`, "about:blank"], {
      stdio: ["ignore", "ignore", "pipe"],
      detached: true,
    });
    const close = async () => {
      if (child.pid !== undefined && child.exitCode === null) {
        const ended = once(child, "close");
        process.kill(-child.pid, "SIGKILL");
        await ended;
      }
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    };
    for await (const line of createInterface(child.stderr)) {
      const [, url] = /DevTools listening on (ws:\S+)/.exec(line) ?? [];
      if (url === undefined) continue;
      const socket = new WebSocket(url);
      await once(socket, "open");
      child.stderr.resume();
      return new Chromium(socket, close).#openTab();
    }
    await close();
    throw new Error("Chromium has ended");
  }

  async stop(): Promise<void> {
    this.#socket.close();
    await this.#close();
  }

  /**
   * Sends its tab to the URL, and evaluates the expression there, repeatedly until it is not undefined or `MAX_WAIT_MS`
   * are over. All visits are in one tab: most of what a new one costs is its process.
   */
  async visit(url: string, expression: string): Promise<Visit> {
    const visit: Visit = { isDownload: false, messages: [], value: undefined };
    const listener = ({ method, params = {} }: Message) => {
      // That of the visit before may be heard of as late as this.
      if (method === "Browser.downloadWillBegin" && params.url === url) visit.isDownload = true;
      if (method === "Log.entryAdded") visit.messages.push((params.entry as { text: string }).text);
    };
    this.#listeners.add(listener);
    try {
      // Responds when the tab shows the document, or when it is clear that it will not.
      const { isDownload } = await this.#call("Page.navigate", { url }, this.#tab);
      visit.isDownload ||= isDownload === true;
      const untilMs = Date.now() + MAX_WAIT_MS;
      while (!visit.isDownload && visit.value === undefined && Date.now() < untilMs) {
        visit.value = await this.#evaluate(expression);
        if (visit.value === undefined) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
      return visit;
    } finally {
      this.#listeners.delete(listener);
    }
  }

  /** Opens the tab. Nothing that a visit leaves in the cache or in the history is there for the next. */
  async #openTab(): Promise<this> {
    await this.#call("Browser.setDownloadBehavior", { behavior: "deny", eventsEnabled: true });
    const { targetId } = await this.#call("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.#call("Target.attachToTarget", { targetId, flatten: true });
    this.#tab = String(sessionId);
    for (const domain of ["Log", "Page", "Network"]) await this.#call(`${domain}.enable`, {}, this.#tab);
    await this.#call("Network.setCacheDisabled", { cacheDisabled: true }, this.#tab);
    return this;
  }

  async #evaluate(expression: string): Promise<unknown> {
    const { result } = await this.#call("Runtime.evaluate", { expression, returnByValue: true }, this.#tab);
    return (result as { value?: unknown } | undefined)?.value;
  }

  async #call(method: string, params: object = {}, sessionId?: string): Promise<Record<string, unknown>> {
    const id = ++this.#lastId;
    const answered = new Promise<Message>((resolve) => this.#answers.set(id, resolve));
    this.#socket.send(JSON.stringify({ id, method, params, sessionId }));
    const { result, error } = await answered;
    this.#answers.delete(id);
    if (error) throw new Error(`${method}: ${error.message}`);
    return result as Record<string, unknown>;
  }
}
