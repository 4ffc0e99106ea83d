/** The views, in the order of the navigation. */
import type { FunctionComponent } from "preact";
import { Overview } from "./overview.tsx";

export interface View {
  /** Its place in the URL. */
  name: string;
  label: string;
  Component: FunctionComponent;
}

export const VIEWS: readonly View[] = [{ name: "", label: "Start", Component: Overview }];
