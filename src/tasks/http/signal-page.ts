/** The pages behind a link that sends a signal. Each is a few lines without a script, which a person reads once. */
import { pagePolicy } from "../../kernel/app.ts";
import { escapeHtml } from "../../kernel/escape-html.ts";
import { errorFields, log } from "../../kernel/log.ts";
import { Problem } from "../../kernel/problem.ts";

const HEADERS = {
  ...pagePolicy("form-action 'self'"),
  "Content-Type": "text/html; charset=utf-8",
  "Cache-Control": "no-store",
  // The URL of the page is a secret.
  "Referrer-Policy": "no-referrer",
  "X-Robots-Tag": "noindex",
};

export function signalPage(state: "ask" | "sent", name: string): Response {
  const shown = `<strong>${escapeHtml(name)}</strong>`;
  return state === "ask"
    ? render(200, "Send a signal?", `<p>This tells a task: ${shown}.</p>${BUTTON}`)
    : render(200, "Sent", `<p>The task has been told: ${shown}. You can close this page.</p>`);
}

const BUTTON = '<form method="post"><button>Send</button></form>';

/** The page of a `Problem`; whatever else was thrown is thrown on. */
export function problemPage(error: unknown): Response {
  if (!(error instanceof Problem)) throw error;
  const { status, detail, kind, options } = error;
  if (status >= 500) log("error", "a signal could not be sent by its link", { kind, ...errorFields(error) });
  return render(status, "This does not work", `<p>${escapeHtml(detail)}</p>`, options.headers);
}

function render(
  status: number,
  title: string,
  content: string,
  headers: Record<string, string> = {},
): Response {
  const page = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<main>
<h1>${title}</h1>
${content}
</main>
</html>
`;
  return new Response(page, { status, headers: { ...HEADERS, ...headers } });
}
