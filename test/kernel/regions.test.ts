import { expect, test } from "vitest";
import { LOCATION_HINTS, nearestRegion, notePlace, placeOf } from "../../src/kernel/regions.ts";

test.each([
  ["Lisbon", 38.7, -9.1, "weur"],
  ["Warsaw", 52.2, 21, "eeur"],
  ["New York", 40.7, -74, "enam"],
  ["Seattle", 47.6, -122.3, "wnam"],
  ["Honolulu", 21.3, -157.9, "wnam"],
  ["Buenos Aires", -34.6, -58.4, "sam"],
  ["Tokyo", 35.7, 139.7, "apac"],
  ["Singapore", 1.35, 103.8, "apac"],
  ["Auckland", -36.8, 174.8, "oc"],
  ["Nairobi", -1.3, 36.8, "afr"],
  ["Dubai", 25.2, 55.3, "me"],
])("%s is nearest to its region", (_, latitude, longitude, region) => {
  expect(nearestRegion({ latitude, longitude }, LOCATION_HINTS)).toBe(region);
});

test("only the given regions count, across the antimeridian too", () => {
  const auckland = { latitude: -36.8, longitude: 174.8 };
  expect(nearestRegion(auckland, ["weur", "wnam"])).toBe("wnam");
  expect(nearestRegion(auckland, [])).toBeUndefined();
});

test.each([
  [
    { latitude: "52.5", longitude: "13.4" },
    { latitude: 52.5, longitude: 13.4 },
  ],
  [{ latitude: "52.5" }, undefined],
  [{ latitude: "", longitude: "x" }, undefined],
  [undefined, undefined],
])("a request with the properties %o has the place %o", (cf, place) => {
  const ctx = {};
  notePlace(ctx, { cf });
  expect(placeOf(ctx)).toEqual(place);
  expect(placeOf({})).toBeUndefined();
});
