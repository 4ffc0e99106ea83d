/** A promise of Sluice, and whether it was kept during a run. */
export interface Promised {
  what: string;
  isKept: boolean;
  measured: string;
}
