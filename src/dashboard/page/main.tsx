/** The dashboard: starts it in the page that src/dashboard/routes.ts serves. */
import { render } from "preact";
import { App } from "./app.tsx";

const root = document.querySelector("#app");
if (root) render(<App />, root);
