/** What the quotas allow, and how much of it is used. Nothing where there are none. */
import { usePolled } from "../lib/poll.ts";
import { Size } from "../lib/size.tsx";

interface Quota {
  /** null: all callers together. */
  token: string | null;
  storedBytes: { limit: number; used: number; remaining: number };
}

const INTERVAL_MS = 30_000;

export function Quotas() {
  const quotas = usePolled<{ quotas: Quota[] }>("/quotas", INTERVAL_MS).value?.quotas ?? [];
  if (quotas.length === 0) return null;
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
            {quotas.map(({ token, storedBytes: { limit, used, remaining } }) => (
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
