/** The views, in the order of the navigation. */
import type { FunctionComponent } from "preact";
import { isBound, may } from "../lib/api.ts";
import { Audit } from "./audit.tsx";
import { Files } from "./files.tsx";
import { Overview } from "./overview.tsx";
import { Tasks } from "./tasks.tsx";
import { Upstreams } from "./upstreams.tsx";

export interface View {
  /** Its place in the URL. */
  name: string;
  label: string;
  Component: FunctionComponent;
  /** A bound token has it too. */
  isWithinBounds?: true;
  /** The scope without which it shows nothing, if that is not `read`. */
  scope?: "admin";
}

const VIEWS: readonly View[] = [
  { name: "", label: "Start", Component: Overview, isWithinBounds: true },
  { name: "tasks", label: "Tasks", Component: Tasks },
  { name: "files", label: "Files", Component: Files, isWithinBounds: true },
  { name: "upstreams", label: "Upstreams", Component: Upstreams },
  { name: "audit", label: "Audit", Component: Audit, scope: "admin" },
];

/** Those that the caller may look at. */
export const viewsOf = (): readonly View[] =>
  VIEWS.filter(
    ({ scope, isWithinBounds }) => (!scope || may(scope)) && (isWithinBounds === true || !isBound()),
  );
