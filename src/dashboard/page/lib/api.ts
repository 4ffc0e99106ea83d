/**
 * Calls of the dashboard, always to its own origin: who calls is in the session's cookie, or needs no token on this
 * machine. An error is shown in the words of its problem (RFC 9457).
 */
import { signal } from "@preact/signals";

export interface Session {
  /** The token's name; "local" where none is needed. */
  name: string;
  scopes: readonly string[];
  /** What the ids of its files begin with; null if it is not bound to a prefix. */
  filePrefix: string | null;
  /** The types of its tasks; null if it is not bound to types. */
  taskTypes: readonly string[] | null;
  expiresAt: string | null;
}

/** Undefined until it is known, null where a token is needed first. */
export const session = signal<Session | null | undefined>(undefined);

/** A response that is an error, in the words of its problem. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

const changed = new Set<() => void>();

/** Has `tell` called after each call that may have changed something. Returns what ends that. */
export function onChange(tell: () => void): () => void {
  changed.add(tell);
  return () => void changed.delete(tell);
}

/** Calls a path. Throws an `ApiError` for any status of 400 and above; 401 shows the sign-in form. */
export async function call(path: string, init: RequestInit = {}): Promise<Response> {
  const response = await fetch(path, init).catch(() => {
    throw new ApiError(0, "Sluice cannot be reached.");
  });
  if (response.ok && !["GET", "HEAD"].includes(init.method ?? "GET")) for (const tell of changed) tell();
  if (response.ok || response.status === 304) return response;
  if (response.status === 401 && path !== "/session") session.value = null;
  throw new ApiError(response.status, await readProblem(response));
}

interface ProblemBody {
  title?: string;
  detail?: string;
  /** What is wrong with a request, place by place. */
  errors?: { at: string; detail: string }[];
}

async function readProblem(response: Response): Promise<string> {
  const text = await response.text();
  try {
    const { detail, title, errors = [] }: ProblemBody = JSON.parse(text);
    const places = errors.map((error) => `${error.at}: ${error.detail}`);
    return [detail ?? title ?? text, ...places].join(" ");
  } catch {
    return `${response.status} ${response.statusText}`;
  }
}

export async function getJson<T>(path: string, init: RequestInit = {}): Promise<T> {
  const value: T = await (await call(path, init)).json();
  return value;
}

/** Sends JSON; resolves to the JSON of the response, or undefined if it has no body. */
export async function sendJson<T>(method: string, path: string, body?: unknown): Promise<T | undefined> {
  const response = await call(path, {
    method,
    ...(body !== undefined && {
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    }),
  });
  const text = await response.text();
  if (text === "") return undefined;
  const value: T = JSON.parse(text);
  return value;
}

/** What the token may not do is not offered. */
export const may = (scope: "read" | "write" | "admin"): boolean =>
  session.value?.scopes.includes(scope) === true;

/** Whether it is bound to its own, to some files or to some types of tasks: then the views of tasks and upstreams are not for it. */
export const isBound = (): boolean =>
  session.value?.scopes.includes("own") === true ||
  typeof session.value?.filePrefix === "string" ||
  Array.isArray(session.value?.taskTypes);

export async function readSession(): Promise<void> {
  try {
    session.value = await getJson<Session>("/session");
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 401) throw error;
    session.value = null;
  }
}

export async function signIn(token: string): Promise<void> {
  await sendJson("POST", "/session", { token });
  await readSession();
}

export async function signOut(everywhere: boolean): Promise<void> {
  await sendJson("DELETE", everywhere ? "/sessions" : "/session");
  session.value = null;
}
