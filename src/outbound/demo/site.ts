/**
 * The small site of the demo upstream, to try a crawl without internet: a few pages that link to one another, with what real
 * ones have (robots.txt, a sitemap, a redirect, a page in Latin-1, a second address for the same page, a link that leads
 * nowhere, a page that robots are asked to leave alone).
 */

const WALKS = [
  {
    name: "Along the mill race",
    km: 4,
    text: "The path keeps to the water, past three weirs and a heronry.",
  },
  { name: "Over the common", km: 7, text: "Gorse, ponies, and a view of both rivers from the trig point." },
  {
    name: "To the old lock",
    km: 5,
    text: "The gates have gone, but the keeper's garden still flowers in May.",
  },
  {
    name: "Round the reservoir",
    km: 11,
    text: "Flat and quiet. Bring binoculars: grebes nest by the north dam.",
  },
  {
    name: "Through the beech wood",
    km: 6,
    text: "Best in the last week of October, when the whole hill is copper.",
  },
  {
    name: "Up to the beacon",
    km: 9,
    text: "Steep at first. On a clear evening you can count four steeples.",
  },
] as const;

const page = (title: string, body: string, head = "") =>
  `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${title}</title>${head}</head><body>` +
  `<nav><a href="/site/">Home</a> <a href="/site/walks">Walks</a></nav>${body}</body></html>`;

const home = page(
  "Walks from the mill",
  `<h1>Walks from the mill</h1><p>Six walks, all from the same bench.</p><ul><li><a href="walks">All walks</a>
   <li><a href="cafe">The café</a><li><a href="first-walk">The first walk</a><li><a href="private/rota">Rota</a>
   <li><a href="lost">A page that is gone</a><li><a href="https://elsewhere.example/">Elsewhere</a></ul>`,
  `<meta name="description" content="Six walks that begin &amp; end at the mill.">`,
);

const walks = page(
  "All walks",
  `<h1>All walks</h1>${WALKS.map(({ name }, i) => `<p><a href="walks/${i + 1}">${name}</a> <a href="walks/${i + 1}?print=1">(to print)</a></p>`).join("")}`,
);

function walk(number: number): string | undefined {
  const found = WALKS[number - 1];
  if (!found) return undefined;
  const { name, km, text } = found;
  const about = { "@context": "https://schema.org", "@type": "TouristTrip", name, itinerary: text };
  const paragraphs = [
    "Set out from the bench by the mill",
    `Allow an hour for every four of the ${km} km`,
    "Turn back the way you came, or take the bus",
  ];
  return page(
    name,
    `<article><h1>${name}</h1><p>${text} It is a walk of ${km} km, and dogs are welcome.</p><h2>The way</h2>` +
      paragraphs
        .map(
          (one) =>
            `<p>${one}, with <b>good boots</b>, a map, something to drink, and time to look about.</p>`,
        )
        .join("") +
      `</article><footer><a href="/site/walks/${(number % WALKS.length) + 1}">Next</a></footer>`,
    `<link rel="canonical" href="/site/walks/${number}"><script type="application/ld+json">${JSON.stringify(about)}</script>`,
  );
}

const robots = (origin: string) =>
  `User-agent: *\nDisallow: /site/private/\n\nSitemap: ${origin}/sitemap.xml\n`;

const sitemap = (origin: string) =>
  `<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n` +
  ["", "walks", "cafe", ...WALKS.map((_, i) => `walks/${i + 1}`)]
    .map((path) => `<url><loc>${origin}/site/${path}</loc></url>\n`)
    .join("") +
  "</urlset>\n";

const html = (text: string) => new Response(text, { headers: { "Content-Type": "text/html" } });

/** The response of the site; undefined where it has nothing. */
export function respondAsSite({ origin, pathname }: URL): Response | undefined {
  if (pathname === "/robots.txt") return new Response(robots(origin));
  if (pathname === "/sitemap.xml")
    return new Response(sitemap(origin), { headers: { "Content-Type": "application/xml" } });
  if (pathname === "/site/") return html(home);
  if (pathname === "/site/walks") return html(walks);
  if (pathname === "/site/first-walk") return Response.redirect(`${origin}/site/walks/1`, 301);
  if (pathname === "/site/private/rota") return html(page("Rota", "<p>Ann on Monday, Bo on Tuesday.</p>"));
  if (pathname === "/site/cafe") return cafe();
  const text = walk(Number(/^\/site\/walks\/(\d)$/.exec(pathname)?.[1]));
  return text === undefined ? undefined : html(text);
}

/** In Latin-1, which only its header says. */
function cafe(): Response {
  const text = "<title>The café</title><h1>The café</h1><p>Crème brûlée, and tea à la carte.</p>";
  const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
  return new Response(bytes, { headers: { "Content-Type": "text/html; charset=iso-8859-1" } });
}
