/** Ways in which form data and its request can be wrong; some of them only look wrong. */
import type { Random } from "../random.ts";
import { bytesOf, type Form, makeBytes, type Part, pick } from "./form.ts";

type Mutation<T> = readonly [name: string, mutate: (target: T, random: Random) => T];
type Mutations<T> = readonly [Mutation<T>, ...Mutation<T>[]];

const KIB = 1024;

/** Adds a part with this header to the form. */
const addPart = (form: Form, ...header: string[]): Form =>
  addParts(form, [{ header, body: Buffer.from("value") }]);
const addParts = (form: Form, parts: Part[]): Form => ({ ...form, parts: [...form.parts, ...parts] });

/** Changes the header of a random part of the form. */
function reheader(form: Form, random: Random, change: (header: string[]) => string[]): Form {
  const chosen = random.between(0, form.parts.length - 1);
  const parts = form.parts.map((part, i) => (i === chosen ? { ...part, header: change(part.header) } : part));
  return { ...form, parts };
}

const DISPOSITION = "Content-Disposition: form-data";
const FILENAME_STARS = [
  "UTF-8''%ZZ",
  "UTF-8''%",
  "UTF-8''%C0%AF",
  "UTF-8''%ED%A0%80",
  "UTF-8''..%2F..%2Fetc%2Fpasswd",
  "UTF-8''a%00b%0D%0AX-Evil:%201",
  "ISO-8859-1'en'%A3",
  "EBCDIC''abc",
  "UTF-8'",
  "''",
  "",
  `"UTF-8''quoted.txt"`,
  `UTF-8''${"%F0%9F%98%80".repeat(100)}`,
  `UTF-8''${"a".repeat(9000)}`,
] as const;
const PARAMETERS = [
  'name="__proto__"; filename="__proto__"',
  'name="constructor"; filename=""',
  'name="a"; name="b"; filename="c"; filename="d"',
  "name=unquoted; filename=un quoted",
  'name="never ends; filename="x',
  'name="a\\"; filename="b\\',
  'NAME="a"; FileName="../../b"',
  'name="a" filename="b"',
  'filename*0="a"; filename*1*=UTF-8\'\'b; name="c"',
  '; ; ;name="a";;',
  'name="\x00\x01\x7f"; filename="\x00.txt"',
  'name="\xff\xfe"; filename="\xc3"',
  `name="${"n".repeat(257)}"`,
  `name="a"; filename="${"f".repeat(256)}"`,
  `name="a"; filename="${bytesOf("報").repeat(86)}"`,
  `name="a"${'; x="y"'.repeat(900)}`,
  `name="${'\\"'.repeat(2000)}"`,
] as const;

/**
 * What a form must not get a 201 with, if it is all that was changed: it would be stored otherwise than it says. Not
 * "digest in the trailer": the local runtime takes the field `Trailer` away.
 */
export const MUST_BE_REJECTED = [
  "digest of the form",
  "a piece",
  "Content-Encoding",
  "encoding of the request",
  "a name in pieces",
];

const ENCODING_FIELDS = [
  "Content-Transfer-Encoding: base64",
  "Content-Transfer-Encoding: quoted-printable",
  "Content-Transfer-Encoding: x-uuencode",
  "Content-Transfer-Encoding:",
  "content-transfer-encoding: 7BIT",
  "Content-Encoding: gzip",
  "Content-Encoding: identity",
  "Content-Range: bytes 0-4/5",
] as const;
const DIGEST_FIELDS = [
  `Content-MD5: ${"A".repeat(22)}==`,
  "Content-MD5: nonsense",
  `Content-Digest: sha-256=:${"A".repeat(43)}=:`,
  "Repr-Digest: sha-256=::",
  "Repr-Digest: blake3=:AAAA:",
  `Digest: SHA-256=${"A".repeat(43)}=`,
  `Upload-Checksum: sha1 ${"A".repeat(27)}=`,
] as const;
const TEXT_TYPES = [
  "text/plain; charset=utf-8",
  "text/plain; charset=utf-16",
  "text/plain; charset=shift_jis",
  "text/plain; charset=iso-8859-1",
  "text/plain; charset=x-user-defined",
  'text/plain; charset="',
  "text/plain; charset=nonsense",
  "application/json",
  "multipart/form-data",
  "image/png",
] as const;
const CHARSET_LABELS = [
  "utf-8",
  "iso-8859-1",
  "utf-16",
  "nonsense",
  "",
  "\xff",
  "replacement",
  "c".repeat(3000),
] as const;

/** Mutations of the form before it is serialized. */
export const FORM_MUTATIONS: Mutations<Form> = [
  ["no end", (form) => ({ ...form, end: "" })],
  [
    "half an end",
    (form, random) => ({ ...form, end: form.end.slice(0, random.between(1, form.end.length)) }),
  ],
  ["end first", (form) => ({ ...form, preamble: `--${form.boundary}--\r\n` })],
  [
    "huge preamble",
    (form, random) => ({ ...form, preamble: `${"p".repeat(random.between(1, 200) * KIB)}\r\n` }),
  ],
  ["preamble of dashes", (form, random) => ({ ...form, preamble: "\r\n--".repeat(random.between(1, 9000)) })],
  [
    "huge epilogue",
    (form, random) => ({ ...form, end: form.end + "\r\ne".repeat(random.between(1, 60) * KIB) }),
  ],
  [
    "other boundary in the body",
    (form) => ({ ...form, contentType: form.contentType.replace(/.("?)$/, "Q$1") }),
  ],
  [
    "form after the form",
    (form) => ({ ...form, end: `${form.end}\r\n--${form.boundary}\r\n${DISPOSITION}\r\n\r\n` }),
  ],
  ["many tiny parts", (form, random) => addParts(form, tinyParts(random.between(100, 400), 'name="t"'))],
  [
    "many tiny files",
    (form, random) => addParts(form, tinyParts(fewOrTooMany(random), 'name="t"; filename="t"')),
  ],
  [
    "huge field",
    (form, random) =>
      addParts(form, [
        { header: [`${DISPOSITION}; name="h"`], body: makeBytes(random, random.between(62, 70) * KIB) },
      ]),
  ],
  ["no header", (form, random) => reheader(form, random, () => [])],
  ["no disposition", (form, random) => reheader(form, random, () => ["Content-Type: text/plain"])],
  ["two dispositions", (form, random) => reheader(form, random, (header) => [...header, ...header])],
  [
    "many header fields",
    (form, random) =>
      reheader(form, random, (header) => [
        ...header,
        ...Array.from({ length: random.between(15, 90) }, (_, i) => `X-${i}: y`),
      ]),
  ],
  [
    "huge header field",
    (form, random) =>
      reheader(form, random, (header) => [...header, `X-Huge: ${"h".repeat(random.between(4, 40) * KIB)}`]),
  ],
  [
    "huge header name",
    (form, random) =>
      reheader(form, random, (header) => [...header, `${"H".repeat(random.between(1, 20) * KIB)}: x`]),
  ],
  [
    "folded header",
    (form, random) =>
      reheader(form, random, (header) => header.map((line) => line.replaceAll("; ", ";\r\n\t "))),
  ],
  ["header without colon", (form, random) => reheader(form, random, (header) => ["nonsense", ...header])],
  [
    "odd header names",
    (form, random) =>
      reheader(form, random, (header) => [
        "__proto__: x",
        "constructor: y",
        ": z",
        " : ",
        "toString:",
        ...header,
      ]),
  ],
  [
    "bytes in header",
    (form, random) =>
      reheader(form, random, (header) => [...header, `X: ${makeBytes(random, 40).toString("latin1")}`]),
  ],
  ["odd parameters", (form, random) => addPart(form, `${DISPOSITION}; ${pick(random, PARAMETERS)}`)],
  [
    "a name in pieces",
    (form, random) =>
      addPart(
        form,
        `${DISPOSITION}; name="p"; ${pick(random, ['filename*0="a"; filename*1=".txt"', "filename*0*=UTF-8''a"])}`,
      ),
  ],
  [
    "odd filename*",
    (form, random) => addPart(form, `${DISPOSITION}; name="s"; filename*=${pick(random, FILENAME_STARS)}`),
  ],
  [
    "odd disposition",
    (form, random) =>
      addPart(
        form,
        pick(random, ["Content-Disposition:", "Content-Disposition: attachment", DISPOSITION.slice(0, -1)]),
      ),
  ],
  [
    "encoded part",
    (form, random) => addPart(form, `${DISPOSITION}; name="e"; filename="e"`, pick(random, ENCODING_FIELDS)),
  ],
  [
    "other encoding",
    (form, random) => reheader(form, random, (header) => [...header, pick(random, ENCODING_FIELDS)]),
  ],
  [
    "digest of a part",
    (form, random) => reheader(form, random, (header) => [...header, pick(random, DIGEST_FIELDS)]),
  ],
  [
    "text in some charset",
    (form, random) =>
      addParts(form, [
        {
          header: [`${DISPOSITION}; name="t"`, `Content-Type: ${pick(random, TEXT_TYPES)}`],
          body: makeBytes(random, random.between(0, 40)),
        },
      ]),
  ],
  [
    "charset of the form",
    (form, random) =>
      addParts(form, [
        { header: [`${DISPOSITION}; name="_charset_"`], body: Buffer.from(pick(random, CHARSET_LABELS)) },
      ]),
  ],
  [
    "field doubled in a header",
    (form, random) =>
      reheader(form, random, (header) => [...header, header[random.between(0, header.length - 1)] ?? "X: y"]),
  ],
  [
    "file without a name",
    (form, random) =>
      addParts(form, [
        {
          header: [
            `${DISPOSITION}; name="${pick(random, ["file", "n"])}"${pick(random, ["", '; filename=""'])}`,
          ].concat(
            pick(random, ["Content-Type: image/png", "Content-Type: application/octet-stream", "X: y"]),
          ),
          body: makeBytes(random, random.between(0, 2)),
        },
      ]),
  ],
  [
    "nested form",
    (form) => {
      const inner = `--inner\r\nContent-Disposition: file; filename="in"\r\n\r\nx\r\n--inner--\r\n`;
      const header = [`${DISPOSITION}; name="n"`, "Content-Type: multipart/mixed; boundary=inner"];
      return addParts(form, [{ header, body: Buffer.from(inner) }]);
    },
  ],
  [
    "form in a file of the form",
    (form) => {
      const inner = `--${form.boundary}x\r\n${DISPOSITION}; name="in"; filename="in"\r\n\r\nx\r\n--${form.boundary}x--\r\n`;
      return addParts(form, [
        { header: [`${DISPOSITION}; name="o"; filename="o"`], body: Buffer.from(inner, "latin1") },
      ]);
    },
  ],
];

/** A number around the limit only now and then, because storing a hundred files takes long. */
const fewOrTooMany = (random: Random) =>
  random.chance(0.05) ? random.between(95, 140) : random.between(2, 6);

const tinyParts = (length: number, parameters: string): Part[] =>
  Array.from({ length }, () => ({ header: [`${DISPOSITION}; ${parameters}`], body: Buffer.from("t") }));

const INSERTS = [
  "\r",
  "\n",
  "\r\n",
  "\r\n\r\n",
  "\0",
  '"',
  "'",
  "\\",
  ";",
  "=",
  ":",
  "--",
  "\xff",
  "\xc3\x28",
  "%00",
  "\t",
] as const;

/** The bytes of a form, and its boundary. */
export interface Bytes {
  body: Buffer;
  boundary: string;
}

const at = ({ body }: Bytes, random: Random) => random.between(0, body.length);

function splice(target: Bytes, from: number, to: number, ...inserted: Buffer[]): Bytes {
  return {
    ...target,
    body: Buffer.concat([target.body.subarray(0, from), ...inserted, target.body.subarray(to)]),
  };
}

const insert = (target: Bytes, random: Random, text: string) => {
  const place = at(target, random);
  return splice(target, place, place, Buffer.from(text, "latin1"));
};

/** Two positions close to each other, in order. */
function stretch(target: Bytes, random: Random): [number, number] {
  const from = at(target, random);
  return [from, Math.min(target.body.length, from + random.between(1, pick(random, [4, 40, 4000])))];
}

export const BYTE_MUTATIONS: Mutations<Bytes> = [
  ["cut", (target, random) => ({ ...target, body: target.body.subarray(0, at(target, random)) })],
  ["cut in front", (target, random) => ({ ...target, body: target.body.subarray(at(target, random)) })],
  ["nothing", (target) => ({ ...target, body: Buffer.alloc(0) })],
  ["taken out", (target, random) => splice(target, ...stretch(target, random))],
  [
    "doubled",
    (target, random) => {
      const [from, to] = stretch(target, random);
      return splice(target, to, to, target.body.subarray(from, to));
    },
  ],
  ["whole doubled", (target) => ({ ...target, body: Buffer.concat([target.body, target.body]) })],
  [
    "swapped",
    (target, random) => {
      const [from, to] = stretch(target, random);
      const middle = random.between(from, to);
      return splice(target, from, to, target.body.subarray(middle, to), target.body.subarray(from, middle));
    },
  ],
  [
    "bits flipped",
    (target, random) => {
      const body = Buffer.from(target.body);
      for (let flips = random.between(1, 8); flips > 0 && body.length > 0; flips--) {
        const place = random.between(0, body.length - 1);
        body[place] = (body[place] ?? 0) ^ (1 << random.between(0, 7));
      }
      return { ...target, body };
    },
  ],
  [
    "inserted",
    (target, random) => insert(target, random, pick(random, INSERTS).repeat(random.between(1, 3))),
  ],
  [
    "inserted many",
    (target, random) => insert(target, random, pick(random, INSERTS).repeat(random.between(100, 9000))),
  ],
  [
    "inserted bytes",
    (target, random) => insert(target, random, makeBytes(random, random.between(1, 99)).toString("latin1")),
  ],
  [
    "inserted delimiter",
    (target, random) => {
      const delimiter = `--${target.boundary}`;
      const forms = [
        delimiter,
        `\r\n${delimiter}`,
        `\r\n${delimiter}\r\n`,
        `\r\n${delimiter}--`,
        `\n${delimiter}\n`,
        `\r\n${delimiter} \t\r\n`,
      ] as const;
      return insert(target, random, pick(random, forms));
    },
  ],
  [
    "only LF",
    (target) => ({
      ...target,
      body: Buffer.from(target.body.toString("latin1").replaceAll("\r\n", "\n"), "latin1"),
    }),
  ],
  ["only noise", (target, random) => ({ ...target, body: makeBytes(random, random.between(0, 4 * KIB)) })],
];

/** The header fields of the request in their order, without those that frame the body. */
export type Head = [name: string, value: string][];

/** A line of a header as its name and value. */
export function toField(line: string): Head[number] {
  const colon = line.indexOf(":");
  return [line.slice(0, colon), line.slice(colon + 1).trim()];
}

const setType = (head: Head, value: string): Head =>
  head.map(([name, before]) => [name, name === "Content-Type" ? value : before]);
const typeOf = (head: Head) => head.find(([name]) => name === "Content-Type")?.[1] ?? "";

const OTHER_TYPES = [
  "",
  "multipart/form-data",
  "multipart/form-data;",
  "multipart/form-data; boundary",
  "multipart/form-data; boundary=",
  'multipart/form-data; boundary=""',
  'multipart/form-data; boundary="',
  'multipart/form-data; boundary=" "',
  "multipart/form-data; boundary=a\tb",
  "multipart/form-data; boundary=\xe9",
  `multipart/form-data; boundary="${bytesOf("報")}"`,
  'multipart/form-data; boundary="a\\"b"',
  "multipart/form-data; boundary=*****",
  "multipart/form-data; boundary=a; boundary=a",
  "multipart/form-data; boundary=--",
  "multipart/form-data; boundary=-",
  `multipart/form-data; boundary=${"b".repeat(71)}`,
  `multipart/form-data; boundary=${"b".repeat(7000)}`,
  "multipart/form-data; boundary=__proto__",
  "multipart/form-data; __proto__=x; boundary=y",
  "multipart/mixed; boundary=x",
  "application/x-www-form-urlencoded",
  "application/json",
  "text",
  ";;;,,,",
  `${"t".repeat(3000)}/x`,
] as const;

export const HEAD_MUTATIONS: Mutations<Head> = [
  ["no Content-Type", (head) => head.filter(([name]) => name !== "Content-Type")],
  ["two Content-Types", (head) => [...head, ["Content-Type", typeOf(head)]]],
  ["another Content-Type", (head, random) => setType(head, pick(random, OTHER_TYPES))],
  ["two boundaries", (head) => setType(head, `${typeOf(head)}; boundary=other`)],
  [
    "Content-Type in capitals",
    (head) =>
      setType(
        head,
        typeOf(head).replace(/^[^;]*/, (type) => type.toUpperCase()),
      ),
  ],
  ["more parameters", (head) => setType(head, `${typeOf(head)}; charset=utf-8; x="\\""`)],
  ["Content-Encoding", (head) => [...head, ["Content-Encoding", "gzip"]]],
  [
    "encoding of the request",
    (head, random) => [
      ...head,
      ["Content-Transfer-Encoding", pick(random, ["base64", "Quoted-Printable", "x-uuencode"])],
    ],
  ],
  ["digest of the form", (head, random) => [...head, toField(pick(random, DIGEST_FIELDS))]],
  ["digest in the trailer", (head) => [...head, ["Trailer", "Content-Digest"]]],
  [
    "a piece",
    (head, random) => [
      ...head,
      toField(
        pick(random, [
          "Content-Range: bytes 0-4/5",
          "Upload-Complete: ?0",
          "Upload-Offset: 7",
          "Upload-Length: 7",
        ]),
      ),
    ],
  ],
  ["large field", (head, random) => [...head, ["X-Large", "l".repeat(random.between(1, 12) * KIB)]]],
  [
    "many fields",
    (head, random) => [
      ...head,
      ...Array.from({ length: random.between(10, 90) }, (_, i): Head[number] => [`X-${i}`, "y"]),
    ],
  ],
  [
    "odd fields",
    (head) => [
      ...head,
      ["__proto__", "x"],
      ["constructor", ""],
      ["Content-Disposition", "\xff"],
      ["Range", "bytes=x"],
    ],
  ],
  [
    "odd request id",
    (head, random) => [...head, ["X-Request-Id", pick(random, ["", "\xff", "x".repeat(2000), '{"a":1}'])]],
  ],
];

/** Makes one change; returns its name too. */
export function mutate<T>(target: T, random: Random, mutations: Mutations<T>): [T, string] {
  const [name, change] = pick(random, mutations);
  return [change(target, random), name];
}
