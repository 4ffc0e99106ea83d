/** A family of metrics, as a key of what objects report. */
import type { ReadObject } from "../kernel/readings.ts";

export interface Row {
  /** Which objects report it, and under which key. */
  from: ReadObject["object"] | readonly ReadObject["object"][];
  key: string;
  name: string;
  type: "counter" | "gauge" | "histogram";
  unit?: "seconds" | "bytes";
  /** The labels whose values are in the key, in its order. */
  labels: readonly string[];
  /** The values that the last label can have, if they are few: their series are there from the start, as zero. */
  values?: readonly string[];
  /**
   * How the values of several objects become one. Default: their sum. `kind`: the sum for each kind of object. `each`: not at
   * all, each has labels of its own.
   */
  over?: "max" | "kind" | "each";
  help: string;
}
