/** A CSV file like those that people have, made while it is sent: the same bytes for the same size. */
const CITIES = ["Berlin", "Paris", "New York", "Tokyo", "São Paulo", "London", "Madrid", "Rome"];
const PIECE_LENGTH = 256 * 1024;
const HEADER = "id,created_at,city,name,amount,quantity,active,comment\n";

/** Whole rows, of at least so many bytes in all. */
export function* makeCsv(size: number): Generator<Uint8Array> {
  const random = createRandom();
  const encoder = new TextEncoder();
  let text = HEADER;
  let sent = 0;
  for (let n = 0; sent < size; n++) {
    text += makeRow(n, random);
    if (text.length < PIECE_LENGTH) continue;
    const piece = encoder.encode(text);
    text = "";
    sent += piece.length;
    yield piece;
  }
}

function makeRow(n: number, random: () => number): string {
  const day = `2026-${two(1 + (n % 12))}-${two(1 + (n % 28))}`;
  const name = `user ${Math.floor(random() * 1e6)}`;
  const amount = (random() * 1000).toFixed(2);
  const comment = n % 10 === 0 ? '"a ""quoted"", one"' : n % 3 === 0 ? "plain text here" : "";
  const quantity = Math.floor(random() * 50);
  return `${n},${day},${CITIES[Math.floor(random() * 8)]},${name},${amount},${quantity},${random() < 0.5},${comment}\n`;
}

const two = (value: number) => String(value).padStart(2, "0");

/** A linear congruential generator (Numerical Recipes): quick, and the same in each run. */
function createRandom(): () => number {
  let state = 1;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
