/** The first visit: the four example calls, each with the request as a curl line and the response as it streams in. */
import { useSignal } from "@preact/signals";
import { call, isBound, may } from "../lib/api.ts";
import { act } from "../lib/notices.tsx";
import { linkTo } from "../lib/route.ts";
import { Quotas } from "./quotas.tsx";

interface Example {
  title: string;
  text: string;
  path: string;
  scope: "read" | "write";
  curl: string;
  /** A bound token may call it too. */
  isWithinBounds?: true;
  /** Where the trace of the call is seen. Undefined if its response does not say. */
  trace?: (response: string) => { label: string; href: string } | undefined;
  init?: () => RequestInit;
}

const FORM = () => {
  const body = new FormData();
  body.set("file", new File(["Hello, Sluice.\n"], "hello.txt", { type: "text/plain" }));
  return { method: "POST", body };
};

const EXAMPLES: readonly Example[] = [
  {
    title: "A streamed response",
    text: "“Hello,” at once, and “world!” a second later.",
    path: "/hello",
    scope: "read",
    isWithinBounds: true,
    curl: `curl -N ${location.origin}/hello`,
  },
  {
    title: "Background tasks",
    text: "Two tasks begin together and outlive this request.",
    path: "/run-tasks",
    scope: "write",
    curl: `curl -X POST ${location.origin}/run-tasks`,
    init: () => ({ method: "POST" }),
    trace: () => ({ label: "See the tasks", href: linkTo("tasks") }),
  },
  {
    title: "A file, streamed into R2",
    text: "A small text file, as a form sends it.",
    path: "/upload-file",
    scope: "write",
    isWithinBounds: true,
    curl: `curl -F file=@hello.txt ${location.origin}/upload-file`,
    init: FORM,
    trace: (response) => {
      const { id }: { id: string } = JSON.parse(response);
      return { label: "See the file", href: linkTo("files", id) };
    },
  },
  {
    title: "A call under a shared limit",
    text: "An API behind a semaphore that the whole fleet shares.",
    path: "/data",
    scope: "read",
    curl: `curl ${location.origin}/data`,
    trace: () => ({ label: "See the upstreams", href: linkTo("upstreams") }),
  },
];

export function Overview() {
  return (
    <>
      <h1>See it work</h1>
      <div class="examples">
        {EXAMPLES.filter(({ scope, isWithinBounds }) => may(scope) && (isWithinBounds || !isBound())).map(
          (example) => (
            <ExampleCall key={example.path} {...example} />
          ),
        )}
      </div>
      {may("read") && <Quotas />}
    </>
  );
}

function ExampleCall({ title, text, path, curl, init, trace }: Example) {
  const output = useSignal("");
  const isRunning = useSignal(false);
  const seen = useSignal<{ label: string; href: string } | undefined>(undefined);
  const run = async () => {
    isRunning.value = true;
    output.value = "";
    seen.value = undefined;
    try {
      const response = await call(path, init?.());
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
      for (let part = await reader?.read(); part && !part.done; part = await reader?.read())
        output.value += part.value;
      seen.value = trace?.(output.value);
    } catch (error) {
      output.value = error instanceof Error ? error.message : String(error);
    }
    isRunning.value = false;
  };
  return (
    <section class="card">
      <h2>{title}</h2>
      <p>{text}</p>
      <pre class="curl">{curl}</pre>
      <button type="button" onClick={act(run)} disabled={isRunning}>
        Run
      </button>
      <pre class="output" aria-live="polite">
        {output}
      </pre>
      {seen.value && <a href={seen.value.href}>{seen.value.label}</a>}
    </section>
  );
}
