/** What the quotas allow, and how much of it is used when the view is opened. Nothing where there are none. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { getJson } from "../lib/api.ts";
import { notify } from "../lib/notices.tsx";
import { Size } from "../lib/size.tsx";

interface Quota {
  /** null: all callers together. */
  token: string | null;
  storedBytes: { limit: number; used: number; remaining: number };
}

export function Quotas() {
  const quotas = useSignal<Quota[]>([]);
  useEffect(() => {
    const read = async () => {
      quotas.value = (await getJson<{ quotas: Quota[] }>("/quotas")).quotas;
    };
    read().catch(notify);
  }, []);
  if (quotas.value.length === 0) return null;
  return (
    <section class="quotas">
      <h2>Quotas</h2>
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">Token</th>
              <th scope="col">Bytes stored</th>
              <th scope="col">Quota</th>
              <th scope="col">Left</th>
            </tr>
          </thead>
          <tbody>
            {quotas.value.map(({ token, storedBytes: { limit, used, remaining } }) => (
              <tr key={token ?? ""}>
                <td>{token ?? "all together"}</td>
                <td class="number">
                  <Size bytes={used} />
                </td>
                <td class="number">
                  <Size bytes={limit} />
                </td>
                <td class="number">
                  <Size bytes={remaining} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
