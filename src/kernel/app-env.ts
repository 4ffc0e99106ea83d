/** What a request carries through the application: the Worker's bindings, the request's id, and who is calling. */
import type { RequestIdVariables } from "hono/request-id";

export const SCOPES = ["read", "write", "admin"] as const;
export type Scope = (typeof SCOPES)[number];

/** Who is calling: the token's name, for the log, and its scopes. */
export interface Principal {
  name: string;
  scopes: readonly Scope[];
}

export interface AppEnv {
  Bindings: Env;
  Variables: RequestIdVariables & {
    principal: Principal;
    /** A `GET` that changes something. */
    isChange?: boolean;
  };
}
