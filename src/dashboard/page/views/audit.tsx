/** The audit log, for admins: who has changed what. It is read when it is opened, filtered, or asked to be read again. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { getJson } from "../lib/api.ts";
import { notify } from "../lib/notices.tsx";
import { linkTo, route, setQuery } from "../lib/route.ts";
import { Ago } from "../lib/time.tsx";

interface AuditPage {
  lines: {
    at: string;
    token: string;
    method: string;
    route: string;
    id: string | null;
    status: number;
    problem: string | null;
    requestId: string;
  }[];
  next: string | null;
}

const FILTERS = [
  ["Token", "token"],
  ["Method", "method"],
  ["Route", "route"],
  ["Id", "id"],
  ["Status", "status"],
] as const;

export function Audit() {
  const page = useSignal<AuditPage | undefined>(undefined);
  const error = useSignal("Loading…");
  const turn = useSignal(0);
  const { query } = route.value;
  const path = `/audit?${String(query)}`;
  useEffect(() => {
    const gone = new AbortController();
    const read = async () => {
      try {
        page.value = await getJson<AuditPage>(path, { signal: gone.signal });
        error.value = "";
      } catch (failure) {
        if (!gone.signal.aborted) error.value = failure instanceof Error ? failure.message : String(failure);
      }
    };
    read().catch(notify);
    return () => gone.abort();
  }, [path, turn.value]);
  return (
    <>
      <h1>Audit</h1>
      <form class="filters" onSubmit={(event) => event.preventDefault()}>
        {FILTERS.map(([label, name]) => (
          <label key={name}>
            {label}{" "}
            <input
              type="text"
              size={10}
              value={query.get(name) ?? ""}
              onChange={({ currentTarget }) => setQuery({ [name]: currentTarget.value, cursor: undefined })}
            />
          </label>
        ))}
        <button type="button" onClick={() => turn.value++}>
          Read again
        </button>
      </form>
      <p class="faint" role="status">
        {error.value}
      </p>
      {page.value && <Lines page={page.value} />}
    </>
  );
}

function Lines({ page: { lines, next } }: { page: AuditPage }) {
  const { query } = route.value;
  const filters = Object.fromEntries(query);
  return (
    <>
      {lines.length === 0 && <p>{next === null ? "No line." : "No line on this page."}</p>}
      {lines.length > 0 && (
        <div class="scroll" tabIndex={0}>
          <table>
            <thead>
              <tr>
                <th>When</th>
                <th>Token</th>
                <th>Request</th>
                <th>Id</th>
                <th>Outcome</th>
              </tr>
            </thead>
            <tbody>
              {lines.map(({ at, token, method, route: pattern, id, status, problem, requestId }) => (
                <tr key={`${requestId} ${at}`}>
                  <td>
                    <Ago time={at} />
                  </td>
                  <td>{token}</td>
                  <td>
                    <code>
                      {method} {pattern}
                    </code>
                  </td>
                  <td>{id}</td>
                  <td class={status >= 400 ? "error" : ""} title={`X-Request-Id: ${requestId}`}>
                    {status} {problem}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <p>
        {query.has("cursor") && <a href={linkTo("audit", "", { ...filters, cursor: undefined })}>Newest</a>}{" "}
        {next !== null && <a href={linkTo("audit", "", { ...filters, cursor: next })}>Older</a>}
      </p>
    </>
  );
}
