/** A promise of Sluice, and whether a run has seen it kept. */
export interface Promised {
  what: string;
  isKept: boolean;
  measured: string;
}
