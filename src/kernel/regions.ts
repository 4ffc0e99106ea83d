/**
 * Regions, as the platform's location hints name them, and which of them is near a request.
 *
 * The runtime says where the client is, not where the Worker runs. The two are close to each other, since a request
 * enters the platform in a data centre near its client.
 */
export const LOCATION_HINTS = ["wnam", "enam", "sam", "weur", "eeur", "apac", "oc", "afr", "me"] as const;
export type Region = (typeof LOCATION_HINTS)[number];

/** Degrees. */
interface Place {
  latitude: number;
  longitude: number;
}

/** The middle of the data centres in each region. */
const PLACES: Record<Region, Place> = {
  wnam: { latitude: 39, longitude: -120 },
  enam: { latitude: 39, longitude: -78 },
  sam: { latitude: -23, longitude: -47 },
  weur: { latitude: 50, longitude: 4 },
  eeur: { latitude: 49, longitude: 22 },
  apac: { latitude: 22, longitude: 114 },
  oc: { latitude: -34, longitude: 151 },
  afr: { latitude: -26, longitude: 28 },
  me: { latitude: 25, longitude: 55 },
};

/** The region among `regions` that is nearest to a place; undefined if there are none. */
export function nearestRegion(place: Place, regions: readonly Region[]): Region | undefined {
  const nearness = (region: Region) => cosineOfAngle(place, PLACES[region]);
  return regions.toSorted((a, b) => nearness(b) - nearness(a))[0];
}

const sine = (degrees: number) => Math.sin((degrees * Math.PI) / 180);
const cosine = (degrees: number) => Math.cos((degrees * Math.PI) / 180);

/** Of the angle between two places, seen from the middle of the earth: the larger, the nearer. */
function cosineOfAngle(a: Place, b: Place): number {
  const longitudes = cosine(a.longitude - b.longitude);
  return sine(a.latitude) * sine(b.latitude) + cosine(a.latitude) * cosine(b.latitude) * longitudes;
}

/** What `request.cf` says, as text. */
type RequestPlace = { latitude?: unknown; longitude?: unknown };

/** Where the request of each invocation came from. */
const places = new WeakMap<object, Place>();

/** Keeps, for as long as the invocation lives, where its request came from. */
export function notePlace(ctx: object, { cf }: { cf?: RequestPlace | undefined }): void {
  const place = { latitude: degreesOf(cf?.latitude), longitude: degreesOf(cf?.longitude) };
  if (Number.isFinite(place.latitude) && Number.isFinite(place.longitude)) places.set(ctx, place);
}

const degreesOf = (text: unknown): number =>
  typeof text === "string" ? Number.parseFloat(text) : Number.NaN;

/** Undefined if it is unknown, and in an invocation without a request: a cron, an alarm, a call to an object. */
export const placeOf = (ctx: object): Place | undefined => places.get(ctx);
