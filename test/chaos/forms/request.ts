/** The requests of a run: each follows only from the seed and its number. */
import { Random } from "../random.ts";
import { digestLine } from "./encodings.ts";
import { type Content, makeForm, pick, ROUTES, type Route, toBytes } from "./form.ts";
import { BYTE_MUTATIONS, FORM_MUTATIONS, HEAD_MUTATIONS, type Head, mutate, toField } from "./mutate.ts";

export interface FormRequest {
  number: number;
  route: Route;
  /** What was changed; if nothing, the request is valid. */
  mutations: string[];
  /** What a valid request contains. */
  content: Content;
  /** The bytes on the wire, in the pieces in which they are written. */
  pieces: Buffer[];
  /** Its HTTP framing is wrong: then a response is optional, and no other request can follow. */
  isBrokenHttp: boolean;
  /** Whether the client closes its end afterwards. */
  endsEarly: boolean;
}

const VALID_SHARE = 0.15;
const BROKEN_HTTP_SHARE = 0.02;
const CHUNKED_SHARE = 0.25;
const PIECES_SHARE = 0.15;
/** Of the valid forms: those with a digest of the whole body. */
const DIGEST_SHARE = 0.2;

interface Target {
  host: string;
  breaksHttp: boolean;
}

export function makeRequest(seed: number, number: number, { host, breaksHttp }: Target): FormRequest {
  const random = new Random(seed, String(number));
  const route = pick(random, ROUTES);
  const { form: valid, content } = makeForm(random, route);
  const isValid = random.chance(VALID_SHARE);
  const mutations: string[] = [];
  const apply = <T>(target: T, maxTimes: number, choices: Parameters<typeof mutate<T>>[2]): T => {
    let changed = target;
    for (let times = isValid ? 0 : random.between(0, maxTimes); times > 0; times--) {
      const [next, name] = mutate(changed, random, choices);
      changed = next;
      mutations.push(name);
    }
    return changed;
  };
  const form = apply(valid, 2, FORM_MUTATIONS);
  const { body } = apply({ body: toBytes(form), boundary: form.boundary }, 3, BYTE_MUTATIONS);
  const plainHead: Head = [
    ["Host", host],
    ["Content-Type", form.contentType],
  ];
  if (isValid && random.chance(DIGEST_SHARE)) plainHead.push(toField(digestLine(random, body)));
  const head = random.chance(0.3) ? apply(plainHead, 1, HEAD_MUTATIONS) : plainHead;
  const base = { number, route, mutations, content };
  if (!isValid && random.chance(BROKEN_HTTP_SHARE) && breaksHttp) {
    const { name, lines, sent, endsEarly } = breakFraming(random, body);
    mutations.push(name);
    const start = writeHead(route, head, lines);
    return { ...base, pieces: [start, sent], isBrokenHttp: true, endsEarly };
  }
  const pieces = random.chance(CHUNKED_SHARE)
    ? [writeHead(route, head, ["Transfer-Encoding: chunked"]), ...writeChunks(random, body)]
    : [writeHead(route, head, [`Content-Length: ${body.length}`]), body];
  return {
    ...base,
    pieces: random.chance(PIECES_SHARE) ? tear(random, pieces) : [Buffer.concat(pieces)],
    isBrokenHttp: false,
    endsEarly: false,
  };
}

function writeHead(route: Route, head: Head, framing: string[]): Buffer {
  const lines = [...head.map(([name, value]) => `${name}: ${value}`), ...framing];
  return Buffer.from(`POST ${route} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`, "latin1");
}

/** RFC 9112 §7.1, in chunks of odd sizes. */
function writeChunks(random: Random, body: Buffer): Buffer[] {
  const maxSize = pick(random, [1, 7, 100, 4000, 70_000]);
  const chunks: Buffer[] = [];
  // Not thousands of chunks: they show no more than a hundred do, and each costs a turn of a busy loop.
  const minSize = Math.ceil(body.length / 100);
  for (let from = 0; from < body.length; ) {
    const to = Math.min(body.length, from + Math.max(minSize, random.between(1, maxSize)));
    const extension = random.chance(0.02) ? ";x=y" : "";
    chunks.push(
      Buffer.from(`${(to - from).toString(16)}${extension}\r\n`),
      body.subarray(from, to),
      Buffer.from("\r\n"),
    );
    from = to;
  }
  return [...chunks, Buffer.from("0\r\n\r\n")];
}

/** The same bytes in a few pieces, written one after the other. */
function tear(random: Random, pieces: Buffer[]): Buffer[] {
  const bytes = Buffer.concat(pieces);
  const cuts = Array.from({ length: random.between(1, 5) }, () => random.between(0, bytes.length)).toSorted(
    (a, b) => a - b,
  );
  return [...cuts, bytes.length].map((cut, i) => bytes.subarray(cuts[i - 1] ?? 0, cut));
}

function breakFraming(random: Random, body: Buffer) {
  const chunked = "Transfer-Encoding: chunked";
  const length = `Content-Length: ${body.length}`;
  const nothing = Buffer.alloc(0);
  const cut = body.subarray(0, random.between(0, body.length));
  return pick(random, [
    {
      name: "breaks off",
      lines: [`Content-Length: ${body.length + random.between(1, 9999)}`],
      sent: body,
      endsEarly: true,
    },
    { name: "breaks off early", lines: [length], sent: cut, endsEarly: cut.length < body.length },
    {
      name: "chunks break off",
      lines: [chunked],
      sent: Buffer.concat([Buffer.from("fffff\r\n"), cut]),
      endsEarly: true,
    },
    { name: "length too short", lines: [`Content-Length: ${cut.length}`], sent: body, endsEarly: false },
    { name: "length negative", lines: ["Content-Length: -1"], sent: body, endsEarly: true },
    { name: "length not a number", lines: ["Content-Length: 0x10"], sent: body, endsEarly: true },
    {
      name: "length too large",
      lines: ["Content-Length: 99999999999999999999"],
      sent: body,
      endsEarly: true,
    },
    { name: "two lengths", lines: [length, "Content-Length: 1"], sent: body, endsEarly: true },
    { name: "length and chunks", lines: [length, chunked], sent: body, endsEarly: true },
    {
      name: "chunk without size",
      lines: [chunked],
      sent: Buffer.concat([Buffer.from("zz\r\n"), body]),
      endsEarly: true,
    },
    { name: "unknown coding", lines: ["Transfer-Encoding: made-up"], sent: body, endsEarly: true },
    { name: "no framing", lines: [], sent: body, endsEarly: true },
    { name: "folded field", lines: ["X-Folded: a\r\n b", length], sent: body, endsEarly: true },
    { name: "NUL in a field", lines: ["X-Nul: a\0b", length], sent: body, endsEarly: true },
    { name: "no name", lines: [": x", length], sent: body, endsEarly: true },
    { name: "huge field", lines: [`X-Huge: ${"h".repeat(200_000)}`, length], sent: body, endsEarly: true },
    { name: "nothing but a head", lines: [length], sent: nothing, endsEarly: body.length > 0 },
  ]);
}
