/**
 * The paginated API of the demo upstream: `/sightings?page=2&per_page=10`, with a `Link` to the next page, as many an API
 * has it.
 */
const TOTAL = 45;
const MAX_PER_PAGE = 20;
const BIRDS = ["heron", "grebe", "kingfisher", "dipper", "swift"];

const sighting = (n: number) => ({
  id: n,
  bird: BIRDS[n % BIRDS.length],
  count: (n * 7) % 5,
  seenAt: new Date(Date.UTC(2026, 4, 1, 6, n * 37)).toISOString(),
});

/** The response of the list; undefined where it has nothing. */
export function respondAsList(url: URL): Response | undefined {
  if (url.pathname !== "/sightings") return undefined;
  const page = numberIn(url, "page", 1, TOTAL);
  const perPage = numberIn(url, "per_page", 10, MAX_PER_PAGE);
  const first = (page - 1) * perPage;
  const items = Array.from({ length: Math.max(0, Math.min(perPage, TOTAL - first)) }, (_, i) =>
    sighting(first + i + 1),
  );
  const response = Response.json(items);
  const next = new URL(url);
  next.searchParams.set("page", String(page + 1));
  if (first + perPage < TOTAL) response.headers.set("Link", `<${next.href}>; rel="next"`);
  return response;
}

/** A whole number from 1 to `max`. */
const numberIn = ({ searchParams }: URL, name: string, byDefault: number, max: number): number =>
  Math.min(max, Math.max(1, Math.trunc(Number(searchParams.get(name) ?? byDefault)) || byDefault));
