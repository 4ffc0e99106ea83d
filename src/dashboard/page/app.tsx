/** The frame of the dashboard: navigation, who is signed in, and the view that the URL names. */
import { useEffect } from "preact/hooks";
import { readSession, session, signOut } from "./lib/api.ts";
import { lacking, startLive } from "./lib/live.ts";
import { act, Notices, notify } from "./lib/notices.tsx";
import { operationsOf } from "./lib/operations.ts";
import { linkTo, route } from "./lib/route.ts";
import { Shortcuts } from "./shortcuts.tsx";
import { SignIn } from "./sign-in.tsx";
import { viewsOf } from "./views/index.ts";

export function App() {
  useEffect(() => {
    readSession().catch(notify);
  }, []);
  useSessionEnd();
  return (
    <>
      <Header />
      <main id="main" tabIndex={-1}>
        {lacking.value.length > 0 && (
          <p class="error" role="status">
            Not responding: {lacking.value.join(", ")}. The log says why.
          </p>
        )}
        {session.value === null ? <SignIn /> : session.value && <View />}
      </main>
      {session.value && <Behind />}
      <Notices />
    </>
  );
}

/** When the session ends, the page asks for a token again, also if it makes no call. */
function useSessionEnd(): void {
  const expiresAt = session.value?.expiresAt;
  useEffect(() => {
    if (!expiresAt) return undefined;
    const askAgain = () => void readSession().catch(notify);
    const timer = setTimeout(askAgain, Date.parse(expiresAt) - Date.now());
    return () => clearTimeout(timer);
  }, [expiresAt]);
}

function Header() {
  return (
    <header class="top">
      <a class="skip" href="#main">
        Skip to content
      </a>
      <a class="brand" href={linkTo("")}>
        <img src="/favicon.ico" alt="" width="28" height="28" /> Sluice
      </a>
      <nav aria-label="Views">
        {viewsOf().map(({ name, label }) => (
          <a key={name} href={linkTo(name)} aria-current={route.value.view === name ? "page" : undefined}>
            {label}
          </a>
        ))}
        <a href="/docs">API</a>
      </nav>
      <span class="badge">{session.value?.name === "local" ? "local" : location.host}</span>
      {session.value && <Shortcuts />}
      {session.value?.expiresAt && <Account />}
    </header>
  );
}

/** The API behind the view, as /docs describes it. */
function Behind() {
  const operations = operationsOf(route.value);
  if (operations.length === 0) return null;
  return (
    <footer class="behind">
      <span>The API behind this view:</span>
      {operations.map(({ href, label }) => (
        <a key={label} href={href}>
          {label}
        </a>
      ))}
    </footer>
  );
}

function Account() {
  return (
    <details class="menu">
      <summary>{session.value?.name}</summary>
      <div class="panel">
        <p>
          May {session.value?.scopes.join(", ")}
          {session.value?.filePrefix && (
            <>
              , files <code>{session.value.filePrefix}…</code>
            </>
          )}
          .
        </p>
        <button type="button" onClick={act(async () => signOut(false))}>
          Sign out
        </button>
        <button type="button" onClick={act(async () => signOut(true))}>
          Sign out everywhere
        </button>
      </div>
    </details>
  );
}

function View() {
  const { view } = route.value;
  useEffect(startLive, []);
  const found = viewsOf().find(({ name }) => name === view);
  if (!found) return <p>There is no view “{view}”.</p>;
  const { Component } = found;
  return <Component />;
}
