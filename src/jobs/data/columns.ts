/**
 * The columns of a file, all with the same precision, which falls as their number grows.
 *
 * Packed, they always fit in a checkpoint: `pack` lowers the precision until they do.
 */
import { Column } from "./column.ts";
import { COARSEST_LEVEL, levelFor, MAX_COLUMNS, type Precision, precisionAt } from "./precision.ts";
import { Packer, Unpacker } from "./sketches/packing.ts";

/** As base64 it is a third longer, and a checkpoint may have 1 MiB of text. */
const MAX_PACKED_BYTES = 770_000;
/** Of names that are packed, because they come with the rows. */
const MAX_NAME_BYTES = 100_000;

export class Columns {
  readonly names: string[] = [];
  readonly columns: Column[] = [];
  readonly #places = new Map<string, number>();
  #level = 0;
  #nameBytes = 0;

  readonly #isOpen: boolean;

  /** Without names, columns come with the rows. At most `MAX_COLUMNS`. */
  constructor(names?: readonly string[]) {
    this.#isOpen = names === undefined;
    this.#level = levelFor(names?.length ?? 0);
    for (const name of names ?? []) this.#append(name);
  }

  get precision(): Precision {
    return precisionAt(this.#level);
  }

  /** The place of the column with this name, which may be a new one; -1 if there is no room for another. */
  placeOf(name: string): number {
    const place = this.#places.get(name);
    if (place !== undefined) return place;
    this.#nameBytes += Buffer.byteLength(name);
    if (this.columns.length >= MAX_COLUMNS || this.#nameBytes > MAX_NAME_BYTES) return -1;
    this.#lowerTo(levelFor(this.columns.length + 1));
    return this.#append(name);
  }

  pack(): Uint8Array {
    for (;;) {
      const packer = new Packer();
      packer.count(this.#level);
      packer.count(this.columns.length);
      for (const name of this.#isOpen ? this.names : []) packer.text(name);
      for (const column of this.columns) column.pack(packer);
      const packed = packer.finish();
      if (packed.length <= MAX_PACKED_BYTES || this.#level === COARSEST_LEVEL) return packed;
      this.#lowerTo(this.#level + 1);
    }
  }

  /** `names`: those of the constructor. */
  static unpack(packed: Uint8Array, names?: readonly string[]): Columns {
    const unpacker = new Unpacker(packed);
    const columns = new Columns(names && []);
    columns.#level = unpacker.count();
    const count = unpacker.count();
    const all = names ?? Array.from({ length: count }, () => unpacker.text());
    for (const name of all) columns.#append(name, Column.unpack(unpacker, columns.precision));
    columns.#nameBytes = all.reduce((sum, name) => sum + Buffer.byteLength(name), 0);
    return columns;
  }

  #append(name: string, column = new Column(this.precision)): number {
    this.#places.set(name, this.names.length);
    this.columns.push(column);
    return this.names.push(name) - 1;
  }

  #lowerTo(level: number): void {
    if (level <= this.#level) return;
    this.#level = level;
    for (const column of this.columns) column.lowerPrecision(this.precision);
  }
}
