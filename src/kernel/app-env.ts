/** What a request carries through the application: the Worker's bindings, the request's id, and who is calling. */
import type { RequestIdVariables } from "hono/request-id";
import type { Bounds } from "./bounds.ts";

/** What a caller may do; and `own`, which lets it do that with nothing but its own. */
export const SCOPES = ["read", "write", "admin", "own"] as const;
export type Scope = (typeof SCOPES)[number];

/** Who is calling: the token's name, for the log, its scopes, and what it is bound to, if it is. */
export interface Principal {
  name: string;
  scopes: readonly Scope[];
  bounds?: Bounds | undefined;
}

export interface AppEnv {
  Bindings: Env;
  Variables: RequestIdVariables & {
    principal: Principal;
    /** A `GET` that changes something. */
    isChange?: boolean;
  };
}
