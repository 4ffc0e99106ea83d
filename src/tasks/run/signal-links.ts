/**
 * Signed URLs that send one signal to one task, without a token, until they expire.
 *
 * A URL ends in `{expires}.{nonce}.{payload}.{signature}`: seconds since the epoch, 22 random characters, what the signal
 * brings as base64url of JSON (empty: null), and the signature of all of that with the task and the name
 * (kernel/signatures.ts). The nonce is the id of the signal, so whoever sends it again sends the same one.
 */
import { randomBytes } from "node:crypto";
import { badLink, isSignatureOf, signText } from "../../kernel/signatures.ts";
import { readTaskSettings } from "../ledger/settings.ts";
import type { Signal } from "../ledger/waits.ts";
import { NonRetryableError } from "../types/define.ts";
import { durationMs } from "../types/duration.ts";
import { toJson } from "../types/json.ts";
import {
  isSignalName,
  MAX_LINK_PAYLOAD_BYTES,
  MAX_SIGNAL_LINK_S,
  SIGNAL_NAME_RULE,
  type SignalUrlOptions,
} from "../types/signals.ts";

const TOKEN = /^([1-9]\d{0,11})\.([\w-]{22})\.([\w-]*)\.([\w-]{43})$/;

/** The path of a link; `expiresAt` is in seconds, `payload` JSON text. Throws a `Problem` 503 if there is no key. */
export function signalPath(
  env: Env,
  taskId: string,
  name: string,
  expiresAt: number,
  payload: string,
): string {
  const nonce = randomBytes(16).toString("base64url");
  const encoded = payload === "null" ? "" : Buffer.from(payload).toString("base64url");
  const said = `${expiresAt}.${nonce}.${encoded}`;
  return `/tasks/${taskId}/signals/${name}/links/${said}.${signText(env, textOf(taskId, name, said))}`;
}

/** As `signalPath`, for the code of a task, with the origin that people reach. */
export function signalUrl(
  env: Env,
  taskId: string,
  name: unknown,
  { expiresIn = "7d", payload = null }: SignalUrlOptions,
): string {
  if (!isSignalName(name)) throw new RangeError(SIGNAL_NAME_RULE);
  const lifetimeS = Math.ceil(durationMs(expiresIn, "The life of a signal's URL") / 1000);
  if (!(lifetimeS >= 1 && lifetimeS <= MAX_SIGNAL_LINK_S))
    throw new RangeError("The life of a signal's URL must be from a second to 30 days.");
  const { publicUrl } = readTaskSettings(env);
  if (publicUrl === undefined)
    throw new NonRetryableError(
      "A URL cannot be made here: set the variable PUBLIC_URL in wrangler.toml to the address of this Sluice.",
    );
  const text = toJson(payload, "payload", MAX_LINK_PAYLOAD_BYTES);
  return publicUrl + signalPath(env, taskId, name, Math.floor(Date.now() / 1000) + lifetimeS, text);
}

/** The signal of a link. Throws a `Problem` 403 if it is not for this task and name, or has expired. */
export function readSignalLink(env: Env, taskId: string, name: string, token: string, nowMs: number): Signal {
  const [, expires = "", nonce = "", encoded = "", signature = ""] = TOKEN.exec(token) ?? [];
  const isGenuine = isSignatureOf(env, textOf(taskId, name, `${expires}.${nonce}.${encoded}`), signature);
  if (!isGenuine || Number(expires) * 1000 <= nowMs) throw badLink();
  const payload = encoded === "" ? "null" : Buffer.from(encoded, "base64url").toString();
  return { id: `link:${nonce}`, name, payload };
}

const textOf = (taskId: string, name: string, said: string): string =>
  `sluice-signal\n${taskId}\n${name}\n${said}`;
