/** Signals: what a task waits for, sent by a caller; and links, by which anyone who has one sends one signal. */
import { createHash } from "node:crypto";
import { createRoute, z } from "@hono/zod-openapi";
import { createRouter, json, needs, openProblems, problems } from "../../kernel/app.ts";
import { Problem } from "../../kernel/problem.ts";
import { callLedger, ledgerOf } from "../ledger/shards.ts";
import { MAX_KEPT_SIGNALS, MAX_SIGNAL_BYTES, MAX_SIGNALS } from "../ledger/wait-rules.ts";
import type { Sent, Signal } from "../ledger/waits.ts";
import { readSignalLink, signalPath } from "../run/signal-links.ts";
import {
  isSignalName,
  MAX_LINK_PAYLOAD_BYTES,
  MAX_PAYLOAD_BYTES,
  MAX_SIGNAL_LINK_S,
  SIGNAL_NAME_RULE,
} from "../types/signals.ts";
import { parseKey } from "./idempotency.ts";
import { ITEM_PROBLEMS, JSON_PROBLEMS, NO_STORE, orNotFound } from "./responses.ts";
import { problemPage, signalPage } from "./signal-page.ts";
import { fingerprint } from "./submission.ts";

const params = z.object({ id: z.string(), name: z.string().meta({ example: "approval" }) });
const linkParams = params.extend({ token: z.string() });
const HTML: string = "text/html; charset=utf-8";
const page = (description: string) => ({ description, content: { [HTML]: { schema: z.string() } } });

const SIGNAL_PROBLEMS = {
  ...ITEM_PROBLEMS,
  409: "The task has ended; or it keeps too many signals (`too-many-signals`).",
};

const sendRoute = createRoute({
  operationId: "sendSignal",
  method: "post",
  path: "/tasks/{id}/signals/{name}",
  tags: ["Tasks"],
  summary: "Send a signal to a task",
  description:
    "The body, any JSON, is what `ctx.waitFor(name)` of the task returns. One wait receives it, now or when the task comes " +
    "to it.",
  ...needs("write"),
  parameters: [
    {
      name: "Idempotency-Key",
      in: "header",
      schema: { type: "string" },
      description:
        "A string in double quotes. As long as the task is kept, the same signal with the same key is sent once.",
    },
  ],
  request: {
    params,
    body: {
      required: true,
      content: { "application/json": { schema: z.unknown(), example: { approved: true } } },
    },
  },
  responses: {
    202: json(
      "The signal is kept, and the task will receive it. A repeat has the same response.",
      z
        .object({
          name: z.string(),
          sentAt: z.iso.datetime(),
        })
        .meta({ id: "Signal" }),
    ),
    ...problems({
      ...JSON_PROBLEMS,
      ...SIGNAL_PROBLEMS,
      400: "The name, the Idempotency-Key or the JSON is malformed.",
      413: `The payload has more than ${MAX_PAYLOAD_BYTES} bytes of JSON.`,
      422: "An earlier signal used the Idempotency-Key with another name or payload; or a number cannot be kept.",
    }),
  },
});

const createLinkRoute = createRoute({
  operationId: "createSignalLink",
  method: "post",
  path: "/tasks/{id}/signals/{name}/links",
  tags: ["Tasks"],
  summary: "Create a link that sends one signal without a token",
  description:
    "Whoever opens the URL sees a page with a button, which sends the signal. It does so once, and until it expires.",
  ...needs("write"),
  request: {
    params,
    body: {
      required: true,
      content: {
        "application/json": {
          schema: z.strictObject({
            expires_in: z
              .int()
              .min(1)
              .max(MAX_SIGNAL_LINK_S)
              .meta({ description: "In seconds; at most 30 days." }),
            payload: z
              .unknown()
              .optional()
              .meta({ description: "What the signal brings, as JSON of at most 1 KiB. Default: null." }),
          }),
          example: { expires_in: 3600, payload: { approved: true } },
        },
      },
    },
  },
  responses: {
    201: json(
      "The link.",
      z.object({ url: z.url(), expiresAt: z.iso.datetime() }).meta({ id: "SignalLink" }),
    ),
    ...problems({
      ...JSON_PROBLEMS,
      ...ITEM_PROBLEMS,
      400: "The name or the JSON is malformed.",
      422: "`expires_in` is not valid.",
      503: `${ITEM_PROBLEMS[503]} Or the secret LINK_KEYS is not set.`,
    }),
  },
});

const LINK_PROBLEMS = {
  403: "The link is not valid or has expired.",
  503: `${ITEM_PROBLEMS[503]} Or the secret LINK_KEYS is wrong.`,
};

const showLinkRoute = createRoute({
  operationId: "showSignalLink",
  method: "get",
  path: "/tasks/{id}/signals/{name}/links/{token}",
  tags: ["Tasks"],
  summary: "The page of a link, with a button that sends its signal",
  description: "Sends nothing: programs that look at the links in an e-mail may get it.",
  security: [],
  request: { params: linkParams },
  responses: { 200: page("The page."), ...openProblems(LINK_PROBLEMS) },
});

const followLinkRoute = createRoute({
  operationId: "sendSignalByLink",
  method: "post",
  path: "/tasks/{id}/signals/{name}/links/{token}",
  tags: ["Tasks"],
  summary: "Send the signal of a link",
  description: "What its button does. Once: a repeat has the same response.",
  security: [],
  request: { params: linkParams },
  responses: {
    200: page("The signal is sent."),
    ...openProblems({ ...SIGNAL_PROBLEMS, ...LINK_PROBLEMS }),
  },
});

export const signalRoutes = createRouter()
  .openapi(sendRoute, async (c) => {
    const { id, name } = checkName(c.req.valid("param"));
    const key = parseKey(c.req.header("Idempotency-Key"));
    const value = c.req.valid("json");
    const payload = JSON.stringify(value);
    checkPayload(payload, MAX_PAYLOAD_BYTES);
    const caller = c.get("principal").name;
    const signal: Signal =
      key === undefined
        ? { id: `once:${crypto.randomUUID()}`, name, payload }
        : { id: keyedId(caller, key), name, payload, fingerprint: fingerprint([name, value]) };
    const { atMs } = await send(c.env, id, signal);
    return c.json({ name, sentAt: new Date(atMs).toISOString() }, 202, NO_STORE);
  })
  .openapi(createLinkRoute, async (c) => {
    const { id, name } = checkName(c.req.valid("param"));
    const { expires_in, payload = null } = c.req.valid("json");
    const text = JSON.stringify(payload);
    checkPayload(text, MAX_LINK_PAYLOAD_BYTES);
    orNotFound(await callLedger(async () => ledgerOf(c.env, id)?.getTask(id)), id);
    const expiresAt = Math.floor(Date.now() / 1000) + expires_in;
    const url = new URL(c.req.url).origin + signalPath(c.env, id, name, expiresAt, text);
    const body = { url, expiresAt: new Date(expiresAt * 1000).toISOString() };
    return c.json(body, 201, { Location: url, ...NO_STORE });
  });

/** Open to everyone: a link needs no token. People follow them, so a problem is a page too. */
export const signalLinkRoutes = createRouter()
  .openapi(showLinkRoute, (c) => {
    const { id, name, token } = c.req.valid("param");
    try {
      readSignalLink(c.env, id, name, token, Date.now());
    } catch (error) {
      return problemPage(error);
    }
    return signalPage("ask", name);
  })
  .openapi(followLinkRoute, async (c) => {
    const { id, name, token } = c.req.valid("param");
    try {
      const signal = readSignalLink(c.env, id, name, token, Date.now());
      c.set("principal", { name: "link", scopes: [] });
      await send(c.env, id, signal);
    } catch (error) {
      return problemPage(error);
    }
    return signalPage("sent", name);
  });

/** Sends a signal, again if only the response was lost. Throws the `Problem` of one that the task does not take. */
async function send(env: Env, id: string, signal: Signal): Promise<Extract<Sent, { is: "sent" }>> {
  const sent = orNotFound(await callLedger(async () => ledgerOf(env, id)?.signal(id, signal)), id);
  switch (sent.is) {
    case "sent":
      return sent;
    case "ended":
      throw new Problem("conflict", "This task has ended: it waits for nothing any longer.");
    case "used-by-another-request":
      throw new Problem(
        "idempotency-key-reused",
        "An earlier signal used this Idempotency-Key with another name or payload. Use a new key for a new signal.",
      );
    case "full":
      throw new Problem(
        "too-many-signals",
        `A task keeps at most ${MAX_KEPT_SIGNALS} signals that it has not waited for yet, and takes at most ${MAX_SIGNALS}, ` +
          `with ${MAX_SIGNAL_BYTES} bytes, in all.`,
      );
  }
}

function checkName<P extends { name: string }>(path: P): P {
  if (!isSignalName(path.name)) throw new Problem("malformed", SIGNAL_NAME_RULE);
  return path;
}

function checkPayload(text: string, maxBytes: number): void {
  if (Buffer.byteLength(text) > maxBytes)
    throw new Problem(
      "too-large",
      `The payload of a signal may have at most ${maxBytes} bytes of JSON here.`,
    );
}

/** Keys of different callers are independent. */
const keyedId = (caller: string, key: string): string =>
  `key:${createHash("sha256")
    .update(JSON.stringify([caller, key]))
    .digest("base64url")}`;
