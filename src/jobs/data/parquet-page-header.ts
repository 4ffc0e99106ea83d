/** A page's header in Parquet: Thrift's compact protocol, of which it uses structs of numbers, flags and bytes. */

export interface PageHeader {
  type: number;
  /** Unpacked, in bytes. */
  size: number;
  packedSize: number;
  count: number;
  encoding: number;
  /** The rest is of pages of version 2. */
  nulls: number;
  rows: number;
  definitionBytes: number;
  repetitionBytes: number;
  isPacked: boolean;
}

const THRIFT = {
  true: 1,
  false: 2,
  byte: 3,
  i16: 4,
  i32: 5,
  i64: 6,
  double: 7,
  binary: 8,
  list: 9,
  struct: 12,
};
/** A header has structs in a struct in itself. */
const MAX_DEPTH = 8;

type Struct = Map<number, number | Struct>;

/** Throws an error if there is none. Numbers that are missing are `NaN`. */
export function readPageHeader(view: DataView, begin: number): { page: PageHeader; end: number } {
  const { struct: header, end } = readStruct(view, begin, 0);
  const own = numbersOf(header);
  const type = own(1);
  // DataPageHeader, DictionaryPageHeader, DataPageHeaderV2; an index page has nothing that is read.
  const part = header.get(type === 0 ? 5 : type === 2 ? 7 : 8);
  if (type === 1 || !(part instanceof Map))
    throw new Error(`a page of type ${type} has no header of its own`);
  const of = numbersOf(part);
  const isVersion2 = type === 3;
  const page = {
    type,
    size: own(2),
    packedSize: own(3),
    count: of(1),
    encoding: of(isVersion2 ? 4 : 2),
    nulls: of(2),
    rows: of(3),
    definitionBytes: of(5),
    repetitionBytes: of(6),
    isPacked: !isVersion2 || of(7) !== 0,
  };
  return { page, end };
}

/** An unsigned LEB128 of up to 64 bits: beyond 2^53 it is not exact. Throws a `RangeError` past the end. */
export function readVarInt(view: DataView, begin: number): { value: number; end: number } {
  let value = 0;
  for (let at = begin, unit = 1; ; at++, unit *= 128) {
    const byte = view.getUint8(at);
    value += (byte & 127) * unit;
    if (byte < 128) return { value, end: at + 1 };
    if (at - begin === 9) throw new Error("a number in a page has more than 64 bits");
  }
}

const numbersOf = (struct: Struct) => (field: number) => {
  const value = struct.get(field);
  return typeof value === "number" ? value : Number.NaN;
};

function readStruct(view: DataView, begin: number, depth: number): { struct: Struct; end: number } {
  if (depth > MAX_DEPTH) throw new Error("a page's header is nested too deeply");
  const struct: Struct = new Map();
  let [at, field] = [begin, 0];
  for (;;) {
    const byte = view.getUint8(at++);
    if ((byte & 15) === 0) return { struct, end: at };
    if (byte >> 4) field += byte >> 4;
    else ({ value: field, end: at } = readZigZag(view, at));
    const { value, end } = readValue(view, at, byte & 15, depth);
    struct.set(field, value);
    at = end;
  }
}

function readValue(
  view: DataView,
  at: number,
  type: number,
  depth: number,
): { value: number | Struct; end: number } {
  if (type === THRIFT.true || type === THRIFT.false) return { value: type === THRIFT.true ? 1 : 0, end: at };
  if (type === THRIFT.byte) return { value: view.getInt8(at), end: at + 1 };
  if (type === THRIFT.i16 || type === THRIFT.i32 || type === THRIFT.i64) return readZigZag(view, at);
  if (type === THRIFT.double) return { value: view.getFloat64(at, true), end: at + 8 };
  if (type === THRIFT.binary) {
    const { value: length, end } = readVarInt(view, at);
    return { value: length, end: end + length };
  }
  if (type === THRIFT.struct) {
    const { struct, end } = readStruct(view, at, depth + 1);
    return { value: struct, end };
  }
  throw new Error(`a page's header has a field of type ${type}`);
}

function readZigZag(view: DataView, at: number): { value: number; end: number } {
  const { value, end } = readVarInt(view, at);
  return { value: value % 2 === 0 ? value / 2 : -(value + 1) / 2, end };
}
