/** The views, in the order of the navigation. */
import type { FunctionComponent } from "preact";
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
  /** The scope without which it shows nothing, if that is not `read`. */
  scope?: "admin";
}

export const VIEWS: readonly View[] = [
  { name: "", label: "Start", Component: Overview },
  { name: "tasks", label: "Tasks", Component: Tasks },
  { name: "files", label: "Files", Component: Files },
  { name: "upstreams", label: "Upstreams", Component: Upstreams },
  { name: "audit", label: "Audit", Component: Audit, scope: "admin" },
];
