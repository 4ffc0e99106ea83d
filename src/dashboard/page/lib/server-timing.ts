/** Reading `Server-Timing` (W3C): where the time of a call went. */

export interface Span {
  name: string;
  ms: number;
  /** For instance "3 tries". */
  description: string;
}

const PARAMETER = /;\s*([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;,"\s]*))/g;

/** The metrics that have a duration. A name or parameter that cannot be read is left out. */
export function readServerTiming(header: string): Span[] {
  // A string that does not end reaches to the end: to look for where else it could begin would take quadratic time.
  const metrics = header.match(/(?:"(?:[^"\\]|\\[^])*(?:"|\\?$)|[^,"])+/g) ?? [];
  return metrics.flatMap((metric) => {
    const name = metric.split(";")[0]?.trim() ?? "";
    const parameters = new Map(
      [...metric.matchAll(PARAMETER)].map(([, key = "", quoted, plain]) => [
        key.toLowerCase(),
        quoted?.replaceAll(/\\(.)/g, "$1") ?? plain ?? "",
      ]),
    );
    const ms = Number(parameters.get("dur") ?? Number.NaN);
    return name === "" || !(ms >= 0) ? [] : [{ name, ms, description: parameters.get("desc") ?? "" }];
  });
}
