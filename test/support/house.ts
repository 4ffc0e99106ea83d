/**
 * The order of the house, and the rules that hold it.
 *
 * Floors from top to bottom. A folder may import those on lower floors, never one on its own floor: neighbours do not
 * meet. A file directly in `src`, or directly in a pillar, is a place of its own or the pillar's lobby.
 */
import { dirname, join, normalize } from "node:path";

export interface Arrow {
  from: string;
  to: string;
}

const PILLARS = ["tasks", "files", "outbound"];

/** Which places stand above which: the whole, and inside each pillar its rooms. */
export const FLOORS: string[][] = [
  ["index.ts"],
  ["hello.ts", "dashboard", "docs", "metrics", "audit"],
  ["jobs"],
  ["jobs/notify", "jobs/calls", "jobs/data", "jobs/upkeep", "jobs/scrape", "jobs/process"],
  ["jobs/data/sketches"],
  ["jobs/pdf"],
  ["jobs/pdf/fonts"],
  ["jobs/support"],
  ["tasks", "files", "outbound"],
  ["files/grants"],
  ["tasks/schedules", "files/resumable", "files/upload", "files/download", "outbound/proxy"],
  ["tasks/http", "outbound/client"],
  ["tasks/run", "outbound/semaphore"],
  ["tasks/ledger", "files/store"],
  ["tasks/types"],
  ["kernel", "outbound/demo"],
  // For browsers: it imports nothing of the Worker.
  ["dashboard/page"],
  ["dashboard/page/views"],
  ["dashboard/page/lib"],
];

/** Files of a pillar's lobby that its rooms stand on; each may import those after it. */
const FOUNDATIONS = [
  "outbound/shards.ts",
  "outbound/upstreams.ts",
  "outbound/header-secrets.ts",
  "outbound/limit-settings.ts",
  "outbound/settings.ts",
  "outbound/demo.ts",
  "outbound/reserved-headers.ts",
];

const IMPORT = /(?:from|import)\s*\(?\s*"(\.[^"]+)"/g;

/** Every import of one file of the house by another, types included. */
export function arrowsOf(files: { path: string; text: string }[]): Arrow[] {
  return files.flatMap(({ path, text }) =>
    [...text.matchAll(IMPORT)].map(([, target]) => ({
      from: path,
      to: normalize(join(dirname(path), String(target))),
    })),
  );
}

/** The arrows that do not point down. */
export const upward = (arrows: Arrow[]): Arrow[] => arrows.filter((arrow) => !pointsDown(arrow));

function pointsDown({ from, to }: Arrow): boolean {
  const [above, below] = [placeOf(from), placeOf(to)];
  if (to.startsWith("..") || above === below) return true;
  const [pillarAbove, pillarBelow] = [pillarOf(from), pillarOf(to)];
  if (pillarAbove !== undefined && pillarBelow !== undefined && pillarAbove !== pillarBelow) return false;
  return floorOf(above) < floorOf(below);
}

/** Files that are on a circle of imports, each circle once. */
export function circlesIn(arrows: Arrow[]): string[][] {
  const next = Map.groupBy(arrows, ({ from }) => from);
  const done = new Set<string>();
  const circles: string[][] = [];
  const visit = (file: string, path: string[]): void => {
    const at = path.indexOf(file);
    if (at >= 0) circles.push(path.slice(at));
    if (at >= 0 || done.has(file)) return;
    for (const { to } of next.get(file) ?? []) visit(to, [...path, file]);
    done.add(file);
  };
  for (const file of next.keys()) visit(file, []);
  return circles;
}

/** The arrows from outside a pillar to anything in it but its index.ts. */
export function pastTheFrontDoor(arrows: Arrow[]): Arrow[] {
  return arrows.filter(({ from, to }) => {
    const pillar = pillarOf(to);
    return pillar !== undefined && pillar !== pillarOf(from) && to !== `${pillar}/index.ts`;
  });
}

const pillarOf = (path: string) => PILLARS.find((pillar) => path.startsWith(`${pillar}/`));

/** The folder of a file, but for a file directly in `src`, and for a foundation, which are places of their own. */
function placeOf(path: string): string {
  if (FOUNDATIONS.includes(path)) return path;
  return path.split("/").slice(0, -1).join("/") || path;
}

/** A file or folder directly in `src` that has no floor is a feature of your own, and stands beside `hello.ts`. */
const FEATURES = FLOORS.findIndex((floor) => floor.includes("hello.ts"));

const KERNEL = FLOORS.findIndex((floor) => floor.includes("kernel"));

function floorOf(place: string): number {
  const foundation = FOUNDATIONS.indexOf(place);
  if (foundation >= 0) return KERNEL - 0.5 + foundation / (2 * FOUNDATIONS.length);
  const floor = FLOORS.findIndex((places) => places.includes(place));
  return floor < 0 && !place.includes("/") ? FEATURES : floor;
}
