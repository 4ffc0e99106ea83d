/** A CSV file like those that people have, made while it is sent: the same bytes for the same size. */
const CITIES = ["Berlin", "Paris", "New York", "Tokyo", "São Paulo", "London", "Madrid", "Rome"];
const PIECE_LENGTH = 256 * 1024;
/** More than any row has. */
const LAST_BYTES = 1024;
const LAST_ROW = "0,2026-01-01,Rome,user 1,1.00,1,true,";
const HEADER = "id,created_at,city,name,amount,quantity,active,comment\n";

/** Whole rows of so many bytes in all, at least a few thousand: the last comment is as long as it takes. */
export function* makeCsv(size: number): Generator<Uint8Array> {
  const random = createRandom();
  const encoder = new TextEncoder();
  let text = HEADER;
  let left = size - HEADER.length;
  for (let n = 0; left > LAST_BYTES; n++) {
    const row = makeRow(n, random);
    left -= Buffer.byteLength(row);
    text += row;
    if (text.length < PIECE_LENGTH) continue;
    yield encoder.encode(text);
    text = "";
  }
  yield encoder.encode(`${text}${LAST_ROW}${"x".repeat(left - LAST_ROW.length - 1)}\n`);
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
