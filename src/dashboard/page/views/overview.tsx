/** The first visit: the four example calls, each with the request as a curl line and the response as it streams in. */
import { useSignal } from "@preact/signals";
import { call, may } from "../lib/api.ts";
import { act } from "../lib/notices.tsx";

interface Example {
  title: string;
  text: string;
  path: string;
  scope: "read" | "write";
  curl: string;
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
    curl: `curl -N ${location.origin}/hello`,
  },
  {
    title: "Background tasks",
    text: "Two tasks begin together and outlive this request.",
    path: "/run-tasks",
    scope: "write",
    curl: `curl -X POST ${location.origin}/run-tasks`,
    init: () => ({ method: "POST" }),
  },
  {
    title: "A file, streamed into R2",
    text: "A small text file, as a form sends it.",
    path: "/upload-file",
    scope: "write",
    curl: `curl -F file=@hello.txt ${location.origin}/upload-file`,
    init: FORM,
  },
  {
    title: "A call under a shared limit",
    text: "An API behind a semaphore that the whole fleet shares.",
    path: "/data",
    scope: "read",
    curl: `curl ${location.origin}/data`,
  },
];

export function Overview() {
  return (
    <>
      <h1>See it work</h1>
      <div class="examples">
        {EXAMPLES.filter(({ scope }) => may(scope)).map((example) => (
          <ExampleCall key={example.path} {...example} />
        ))}
      </div>
    </>
  );
}

function ExampleCall({ title, text, path, curl, init }: Example) {
  const output = useSignal("");
  const isRunning = useSignal(false);
  const run = async () => {
    isRunning.value = true;
    output.value = "";
    try {
      const response = await call(path, init?.());
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
      for (let part = await reader?.read(); part && !part.done; part = await reader?.read())
        output.value += part.value;
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
    </section>
  );
}
